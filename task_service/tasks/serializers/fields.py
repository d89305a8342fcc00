"""Serializer fields of tasks."""

from typing import Any

from rest_framework import serializers

from chassis.api.fields import ChoiceField, IdField
from tasks.models import Task

STATUS_SPELLINGS = {
    spelling.casefold(): status.value for status in Task.Status for spelling in (status.value, str(status.label))
}
MAX_USERNAME_LENGTH = 64  # the limit of the user service
PRIORITY_SPELLINGS = {str(priority.label): priority.value for priority in Task.Priority}


class StatusField(ChoiceField):
    """Accepts the value or the label, in any case; renders the value."""

    def __init__(self, **kwargs: Any) -> None:
        names = {status.value: status.value for status in Task.Status}
        super().__init__(names=names, spellings=STATUS_SPELLINGS, **kwargs)


class PriorityField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        names = {priority.value: str(priority.label) for priority in Task.Priority}
        super().__init__(names=names, spellings=PRIORITY_SPELLINGS, **kwargs)


class AssigneeIdField(IdField):
    """Accepts the id or the username of an account; renders the id. An id is a number: "7" is a username."""

    default_error_messages = {
        "invalid": f"Must be the id of a user, a username of at most {MAX_USERNAME_LENGTH} characters, or null."
    }

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and len(data) <= MAX_USERNAME_LENGTH and data.strip():
            return data.strip()
        return super().to_internal_value(data)


class AssigneeField(serializers.Field):
    """{"id", "username"} of the assignee; null without one, or if the directory does not know the account."""

    def __init__(self) -> None:
        super().__init__(source="*", read_only=True)

    def to_representation(self, task: Any) -> dict[str, Any] | None:
        return None if task.assignee_name is None else {"id": task.assigned_to_id, "username": task.assignee_name}
