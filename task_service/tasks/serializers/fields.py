"""How a task's own kinds of values come in and go out."""

from typing import Any

from rest_framework import serializers

from chassis.fields import ChoiceField
from tasks.models import Task

STATUS_SPELLINGS = {
    spelling.casefold(): status.value for status in Task.Status for spelling in (status.value, str(status.label))
}
PRIORITY_SPELLINGS = {str(priority.label): priority.value for priority in Task.Priority}


class StatusField(ChoiceField):
    """Comes in as value or label, in any case; goes out as the value."""

    def __init__(self, **kwargs: Any) -> None:
        names = {status.value: status.value for status in Task.Status}
        super().__init__(names=names, spellings=STATUS_SPELLINGS, **kwargs)


class PriorityField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        names = {priority.value: str(priority.label) for priority in Task.Priority}
        super().__init__(names=names, spellings=PRIORITY_SPELLINGS, **kwargs)


class AssigneeField(serializers.Field):
    """{"id", "username"} of a task's assignee; null for nobody, and for one the directory does not know."""

    def __init__(self) -> None:
        super().__init__(source="*", read_only=True)

    def to_representation(self, task: Any) -> dict[str, Any] | None:
        return None if task.assignee_name is None else {"id": task.assigned_to_id, "username": task.assignee_name}
