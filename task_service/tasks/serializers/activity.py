"""What a task's history looks like outside."""

from rest_framework import serializers

from chassis.api.fields import AnyField, IdField, InstantField, NullableTextField, PersonField
from chassis.api.serializers import OutputSerializer
from tasks.models import Activity


class ActivitySerializer(OutputSerializer):
    id = IdField()
    version = serializers.IntegerField(help_text="The version of the task in which it became true.")
    kind = serializers.ChoiceField(Activity.Kind.choices)
    field = NullableTextField(help_text="What was changed; null for creation and deletion.")
    vars()["from"] = AnyField(  # `from = ...` is no Python
        source="old",
        allow_null=True,
        help_text="The value before, of whatever type the field is. For a deletion, an object with the last values of "
        "all fields that can be set.",
    )
    to = AnyField(source="new", allow_null=True, help_text="The value since.")
    reason = NullableTextField(help_text="Why, where the service did it itself.")
    by = PersonField(help_text="Who did it; null where the service did it itself, or the account is not known here.")
    at = InstantField()

    class Meta:
        example = {
            "id": 3,
            "version": 2,
            "kind": "changed",
            "field": "status",
            "from": "todo",
            "to": "completed",
            "reason": None,
            "by": {"id": 1, "username": "admin"},
            "at": "2026-11-23T10:00:00.000000Z",
        }
        swagger_schema_fields = {"example": example}
