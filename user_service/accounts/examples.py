"""Examples in the API documentation."""

PASSWORD = "correct horse battery"
NEW_PASSWORD = "nine purple umbrellas"
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIyIn0.c2lnbmF0dXJl"
MAIL_TOKEN = "kX2vJ8dQ0mZr4Tq7Yb1nHs6Wc3Lf9Pga5Ue-oIiKjEw"
ALICE = {
    "id": 2,
    "username": "alice",
    "email": "alice@example.com",
    "role": "user",
    "is_active": True,
    "date_joined": "2026-11-23T09:00:00.000000Z",
}
USER = {**ALICE, "invitation": None, "invited_at": None}
OWN_ACCOUNT = {**ALICE, "email_confirmed": True, "pending_email": None}
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
PUBLIC_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "Wz2vTq0m1cZ8yK5hL9dR3uN7eXbJ4sGfQaPiOoYt6Ek",
    "alg": "EdDSA",
    "kid": "b9Qm0VtXl3cSg7ZkYw2nRj5uHf8eTa1iPd6oCr4xLvM",
    "use": "sig",
}
