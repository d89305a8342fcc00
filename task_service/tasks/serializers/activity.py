"""The JSON of a history entry."""

from rest_framework import serializers

from chassis.api.fields import AnyField, IdField, InstantField, NullableTextField, UserReferenceField
from chassis.api.serializers import OutputSerializer
from tasks.models import Activity


class ActivitySerializer(OutputSerializer):
    id = IdField()
    version = serializers.IntegerField(help_text="The version of the task after this change.")
    kind = serializers.ChoiceField(Activity.Kind.choices)
    field = NullableTextField(help_text="The field that was changed; null for creation and deletion.")
    vars()["from"] = AnyField(  # `from` is a keyword of Python
        source="old",
        allow_null=True,
        help_text="The old value, of the type of the field. For a deletion, an object with the last values of all "
        "fields that can be set.",
    )
    to = AnyField(source="new", allow_null=True, help_text="The new value.")
    reason = NullableTextField(help_text="Why the service made the change; null if an account made it.")
    by = UserReferenceField(
        help_text="The account that made the change; null if the service did, or if the directory does not have it."
    )
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
