"""What a task's history looks like outside."""

from typing import Any

from rest_framework import serializers

from chassis.api.fields import utc_text
from tasks.models import Activity


class ActivitySerializer(serializers.BaseSerializer):
    def to_representation(self, fact: Activity) -> dict[str, Any]:
        return {
            "id": fact.pk,
            "version": fact.version,
            "kind": fact.kind,
            "field": fact.field or None,
            "from": fact.old,
            "to": fact.new,
            "reason": fact.reason or None,
            "by": None if fact.by is None else {"id": fact.by.pk, "username": fact.by.username},
            "at": utc_text(fact.at),
        }
