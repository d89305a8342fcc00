"""The task in the examples of the API documentation."""

TASK = {
    "id": 1,
    "title": "Call the landlord",
    "description": "",
    "status": "todo",
    "status_label": "To Do",
    "priority": "normal",
    "due_date": "2030-12-01",
    "is_overdue": False,
    "assigned_to": 2,
    "assignee": {"id": 2, "username": "alice"},
    "created_by": 1,
    "created_at": "2026-11-23T09:00:00.000000Z",
    "updated_at": "2026-11-23T09:00:00.000000Z",
    "completed_at": None,
    "version": 1,
}
COMPLETED_TASK = TASK | {
    "status": "completed",
    "status_label": "Completed",
    "updated_at": "2026-11-23T10:00:00.000000Z",
    "completed_at": "2026-11-23T10:00:00.000000Z",
    "version": 2,
}
