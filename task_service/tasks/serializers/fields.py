"""Serializer fields of tasks."""

from typing import Any

from rest_framework import serializers

from chassis.api.fields import ChoiceField, IdField, UserReferenceField
from chassis.ids import MAX_ID
from tasks.models import Task

STATUS_SPELLINGS = {
    spelling.casefold(): status.value for status in Task.Status for spelling in (status.value, str(status.label))
}
MAX_USERNAME_LENGTH = 64  # the limit of the user service
# Swagger 2.0 cannot declare one of two types: `type` may not be a list, and there is no oneOf.
INTEGER_OR_STRING = {"minimum": 1, "maximum": MAX_ID, "x-types": ["integer", "string"]}
PRIORITY_SPELLINGS = {str(priority.label): priority.value for priority in Task.Priority}


class StatusField(ChoiceField):
    """Accepts the value or the label, in any case; renders the value."""

    def __init__(self, **kwargs: Any) -> None:
        names = {status.value: status.value for status in Task.Status}
        super().__init__(names=names, spellings=STATUS_SPELLINGS, **kwargs)


class StatusLabelField(serializers.CharField):
    labels = {status.value: str(status.label) for status in Task.Status}

    def to_representation(self, value: Any) -> str:
        return self.labels[value]


class PriorityField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        names = {priority.value: str(priority.label) for priority in Task.Priority}
        super().__init__(names=names, spellings=PRIORITY_SPELLINGS, **kwargs)


class AssigneeIdField(IdField):
    """Accepts the id or the username of an account; renders the id. An id is a number: "7" is a username."""

    default_error_messages = {
        "invalid": f"Must be the id of a user, a username of at most {MAX_USERNAME_LENGTH} characters, or null."
    }

    class Meta:
        swagger_body_schema = {**INTEGER_OR_STRING, "maxLength": MAX_USERNAME_LENGTH}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and len(data) <= MAX_USERNAME_LENGTH and data.strip():
            return data.strip()
        return super().to_internal_value(data)


class AssigneeField(UserReferenceField):
    """{"id", "username"} of the assignee; null without one, or if the directory does not have the account."""

    def __init__(self) -> None:
        description = (
            "The account of the assignee; null without an assignee, or if the directory does not have the account."
        )
        super().__init__(source="*", help_text=description)

    def to_representation(self, task: Any) -> dict[str, Any] | None:
        return None if task.assignee_name is None else {"id": task.assigned_to_id, "username": task.assignee_name}
