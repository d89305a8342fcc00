"""What the document tells of notifications, beside what it derives."""

from chassis.openapi.operations import Answer, Chapter, Operation, Shape
from chassis.openapi.schemas import ID, INSTANT, nullable, person, whole
from notifications import views
from notifications.filters import InboxFilter
from notifications.models import Delivery, Event

NOTIFICATIONS = "Notifications"
TOLD = {
    "id": 5,
    "kind": "task_assigned",
    "task": {"id": 1, "title": "Call the landlord", "is_gone": False},
    "by": {"id": 1, "username": "admin"},
    "message": "admin assigned alice to \u2068Call the landlord\u2069",
    "created_at": "2026-11-23T09:00:00.000000Z",
    "read_at": None,
}
IS_GONE = {
    "type": "boolean",
    "description": "Whether the caller finds the task no longer (404): it was deleted, or is not theirs any more.",
}
NOTIFICATION = Shape(
    "Notification",
    {
        "id": ID,
        "kind": {"type": "string", "enum": Event.Kind.values},
        "task": {
            "type": "object",
            "description": "The task, with its title as it was then.",
            **whole({"id": ID, "title": {"type": "string"}, "is_gone": IS_GONE}),
        },
        "by": person("Who did it; null where the service itself did, as it does with reminders."),
        "message": {
            "type": "string",
            "description": "What there is to say, in a sentence. The title in it stands between U+2068 and U+2069, so "
            "that one from right to left leaves the rest in order.",
        },
        "created_at": INSTANT,
        "read_at": nullable({**INSTANT, "description": "When it was first marked as read."}),
    },
)
DELIVERY = Shape(
    "Delivery",
    {
        "id": ID,
        "kind": {"type": "string", "enum": Event.Kind.values},
        "recipient": person("Who is told; null where the channel tells nobody in particular."),
        "channel": {"type": "string", "description": "Such as `log` or `email`."},
        "message_id": {**ID, "description": "The id of the first delivery that goes out in the same message."},
        "state": {"type": "string", "enum": Delivery.State.values},
        "reason": nullable({"type": "string", "description": "Why it was skipped or has failed."}),
        "attempts": {"type": "integer", "minimum": 0},
        "planned_at": INSTANT,
        "sent_at": nullable(INSTANT),
    },
)
CHAPTER = Chapter(
    tags={NOTIFICATIONS: "Who was told what, and whether it came through."},
    operations={
        (views.Inbox, "get"): Operation(
            id="listNotifications",
            tag=NOTIFICATIONS,
            summary="Read one's own inbox",
            description="An admin sees all their own entries. Others see those about tasks that they see now or saw "
            "until these were deleted, and that they lost a task.",
            answer=Answer(
                NOTIFICATION,
                {"next": None, "previous": None, "results": [TOLD]},
                description="A page of what the caller was told, newest first.",
            ),
        ),
        (views.MarkRead, "post"): Operation(
            id="markNotificationRead",
            tag=NOTIFICATIONS,
            summary="Mark a notification as read",
            description="It notes when that was done first; to do it again changes nothing.",
            answer=Answer(
                NOTIFICATION, {**TOLD, "read_at": "2026-11-23T09:30:00.000000Z"}, description="The notification."
            ),
        ),
        (views.Ledger, "get"): Operation(
            id="listDeliveries",
            tag=NOTIFICATIONS,
            summary="See what became of a task's notifications",
            answer=Answer(
                DELIVERY,
                {
                    "next": None,
                    "previous": None,
                    "results": [
                        {
                            "id": 8,
                            "kind": "task_assigned",
                            "recipient": {"id": 2, "username": "alice"},
                            "channel": "email",
                            "message_id": 8,
                            "state": "sent",
                            "reason": None,
                            "attempts": 1,
                            "planned_at": "2026-11-23T09:00:00.000000Z",
                            "sent_at": "2026-11-23T09:00:01.000000Z",
                        }
                    ],
                },
                description="A page of deliveries, newest first.",
            ),
        ),
    },
    notes={InboxFilter: {"unread": "Those that were not read yet, or those that were."}},
)
