"""What the examples show."""

from typing import Any

ALICE = {
    "id": 2,
    "username": "alice",
    "email": "alice@example.com",
    "role": "user",
    "is_active": True,
    "date_joined": "2026-11-23T09:00:00.000000Z",
    "invitation": None,
    "invited_at": None,
}
PASSWORD = "correct horse battery"
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIyIn0.c2lnbmF0dXJl"
MAIL_TOKEN = "kX2vJ8dQ0mZr4Tq7Yb1nHs6Wc3Lf9Pga5Ue-oIiKjEw"
SESSION = {
    "id": 12,
    "created_at": "2026-11-23T09:00:00.000000Z",
    "last_used_at": "2026-11-23T09:04:30.000000Z",
    "user_agent": "Mozilla/5.0",
    "address": "203.0.113.7",
    "current": True,
}
AUDIT_EVENT = {
    "id": 31,
    "at": "2026-11-23T09:00:00.000000Z",
    "event": "authz_change",
    "actor": {"id": 1, "username": "admin"},
    "subject": {"id": 2, "username": "alice"},
    "address": "203.0.113.7",
    "details": {"from": "user", "to": "admin"},
    "request_id": "de2ee837b8824003b6e2a008330b68bf",
}


def page_of(row: dict[str, Any]) -> dict[str, Any]:
    return {"next": None, "previous": None, "results": [row]}
