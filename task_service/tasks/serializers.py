"""What a task looks like outside, and what may be set on it."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from chassis.fields import ChoiceField, DayField, IdField, LineField, StringField
from chassis.problems import ServiceUnavailable
from chassis.serializers import StrictModelSerializer
from directory import client
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


class TaskSerializer(StrictModelSerializer):
    title = LineField(max_length=200)
    description = StringField(default="", allow_blank=True, max_length=100_000)
    status = StatusField(default=Task.Status.TODO)
    status_label = serializers.CharField(source="get_status_display", read_only=True)
    priority = PriorityField(default=Task.Priority.NORMAL)
    due_date = DayField(default=None, allow_null=True)
    is_overdue = serializers.BooleanField(read_only=True)
    assigned_to = IdField(default=None, allow_null=True)
    created_by = IdField(read_only=True)

    class Meta:
        model = Task
        fields = [
            "id",
            "title",
            "description",
            "status",
            "status_label",
            "priority",
            "due_date",
            "is_overdue",
            "assigned_to",
            "created_by",
            "created_at",
            "updated_at",
            "completed_at",
            "version",
        ]
        read_only_fields = ["id", "created_at", "updated_at", "completed_at", "version"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask about the assignee last, when nothing else is wrong, and only about a new one."""
        assignee = attrs.get("assigned_to")
        if assignee is not None and (self.instance is None or assignee != self.instance.assigned_to):
            refuse_unless_active(assignee)
        return attrs


def refuse_unless_active(user_id: int) -> None:
    """Raise what stands against assigning a task to this user: unknown or inactive is 400, nobody to ask is 503."""
    try:
        person = client.look_up([user_id]).get(user_id)
    except client.DirectoryUnavailable as error:
        raise ServiceUnavailable("The assignee cannot be looked up at the moment; try again shortly.") from error
    if person is None:
        raise ValidationError({"assigned_to": [ErrorDetail(f"There is no user {user_id}.", code="unknown_user")]})
    if not person.is_active:
        detail = f"The account of user {user_id} is not active."
        raise ValidationError({"assigned_to": [ErrorDetail(detail, code="inactive_user")]})
