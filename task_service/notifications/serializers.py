"""The JSON of inbox entries and deliveries."""

from rest_framework import serializers

from chassis.api.fields import IdField, InstantField, NullableTextField, UserReferenceField
from chassis.api.serializers import OutputSerializer
from notifications.models import Delivery, Event

KINDS = Event.Kind.choices


class EventTaskSerializer(OutputSerializer):
    id = IdField(source="event.task_id")
    title = serializers.CharField(source="event.task_title")
    is_gone = serializers.BooleanField(
        help_text="Whether the caller can no longer see the task (404): it was deleted, or assigned to someone else."
    )


class NotificationSerializer(OutputSerializer):
    id = IdField()
    kind = serializers.ChoiceField(source="event.kind", choices=KINDS)
    task = EventTaskSerializer(source="*", help_text="The task, with the title that it had at the time.")
    by = UserReferenceField(source="event.by", help_text="The account that caused the event; null for reminders.")
    message = serializers.CharField(
        source="event.text",
        help_text="The message, in one sentence. U+2068 and U+2069 enclose the title, so that a right-to-left title "
        "does not reorder the rest.",
    )
    created_at = InstantField(source="event.created_at")
    read_at = InstantField(allow_null=True, help_text="When it was first marked as read; null if it is unread.")

    class Meta:
        example = {
            "id": 5,
            "kind": "task_assigned",
            "task": {"id": 1, "title": "Call the landlord", "is_gone": False},
            "by": {"id": 1, "username": "admin"},
            "message": "admin assigned alice to \u2068Call the landlord\u2069",
            "created_at": "2026-11-23T09:00:00.000000Z",
            "read_at": None,
        }
        swagger_schema_fields = {"example": example}


class DeliverySerializer(OutputSerializer):
    id = IdField()
    kind = serializers.ChoiceField(source="event.kind", choices=KINDS)
    recipient = UserReferenceField(help_text="The recipient; null if the channel has no single recipient.")
    channel = serializers.CharField(read_only=True, help_text="The channel, such as `log` or `email`.")
    message_id = IdField(help_text="The id of the first delivery in the same message.")
    state = serializers.ChoiceField(Delivery.State.choices)
    reason = NullableTextField(help_text="Why the delivery was skipped or failed.")
    attempts = serializers.IntegerField(min_value=0)
    planned_at = InstantField()
    sent_at = InstantField(allow_null=True)

    class Meta:
        example = {
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
        swagger_schema_fields = {"example": example}
