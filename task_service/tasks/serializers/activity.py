"""The JSON of a history entry."""

from typing import Any

from rest_framework import serializers

from chassis.api.fields import utc_text
from tasks.models import Activity


class ActivitySerializer(serializers.BaseSerializer):
    def to_representation(self, entry: Activity) -> dict[str, Any]:
        return {
            "id": entry.pk,
            "version": entry.version,
            "kind": entry.kind,
            "field": entry.field or None,
            "from": entry.old,
            "to": entry.new,
            "reason": entry.reason or None,
            "by": None if entry.by is None else {"id": entry.by.pk, "username": entry.by.username},
            "at": utc_text(entry.at),
        }
