"""The JSON of inbox entries and deliveries."""

from typing import Any

from rest_framework import serializers

from chassis.api.fields import utc_text
from directory.models import User
from notifications.models import Delivery, Notification


def instant(value: Any) -> Any:
    return None if value is None else utc_text(value)


def person(user: User | None) -> dict[str, Any] | None:
    return None if user is None else {"id": user.pk, "username": user.username}


class NotificationSerializer(serializers.BaseSerializer):
    def to_representation(self, item: Notification) -> dict[str, Any]:
        event = item.event
        return {
            "id": item.pk,
            "kind": event.kind,
            "task": {"id": event.task_id, "title": event.task_title, "is_gone": item.is_gone},
            "by": person(event.by),
            "message": event.text,
            "created_at": instant(event.created_at),
            "read_at": instant(item.read_at),
        }


class DeliverySerializer(serializers.BaseSerializer):
    def to_representation(self, delivery: Delivery) -> dict[str, Any]:
        return {
            "id": delivery.pk,
            "kind": delivery.event.kind,
            "recipient": person(delivery.recipient),
            "channel": delivery.channel,
            "message_id": delivery.message_id,
            "state": delivery.state,
            "reason": delivery.reason or None,
            "attempts": delivery.attempts,
            "planned_at": instant(delivery.planned_at),
            "sent_at": instant(delivery.sent_at),
        }
