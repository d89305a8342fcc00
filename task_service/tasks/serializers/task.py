"""What a task looks like outside, and what may be set on it."""

from typing import Any

from rest_framework import serializers

from chassis.api.fields import DayField, IdField, LineField, StringField
from chassis.api.serializers import StrictModelSerializer
from chassis.auth.tokens import Caller
from tasks.examples import TASK
from tasks.models import LONGEST_DESCRIPTION, Task
from tasks.serializers.fields import AssigneeField, AssigneeIdField, PriorityField, StatusField
from tasks.serializers.refusals import assignee_id, assignee_refused


class TaskSerializer(StrictModelSerializer):
    """Of the context it needs the request. To be read are tasks that come with their assignee's name."""

    title = LineField(max_length=200)
    description = StringField(default="", allow_blank=True, max_length=LONGEST_DESCRIPTION)
    status = StatusField(
        default=Task.Status.TODO,
        help_text='Sent, it may also be the label, in any case: "To Do", "In Progress", "Completed".',
    )
    status_label = serializers.CharField(source="get_status_display", read_only=True)
    priority = PriorityField(default=Task.Priority.NORMAL)
    due_date = DayField(default=None, allow_null=True, help_text="YYYY-MM-DD, from 2000 to 2100.")
    is_overdue = serializers.BooleanField(
        read_only=True, help_text="Whether the due date has passed and the task is not completed."
    )
    assigned_to = AssigneeIdField(
        source="assigned_to_id",
        default=None,
        allow_null=True,
        help_text="The id of an active account (integer), or null for nobody. Sent, it may also be the username "
        "(string, in any case).",
    )
    assignee = AssigneeField()
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
            "assignee",
            "created_by",
            "created_at",
            "updated_at",
            "completed_at",
            "version",
        ]
        read_only_fields = ["id", "created_at", "updated_at", "completed_at", "version"]
        extra_kwargs = {
            "completed_at": {"help_text": "Since when it is completed."},
            "version": {"help_text": "Counts the changes."},
        }
        swagger_schema_fields = {"example": TASK}

    @property
    def caller(self) -> Caller:
        caller: Caller = self.context["request"].user
        return caller

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask about the assignee last, when nothing else is wrong, and only about a new one."""
        assignee = attrs.get("assigned_to_id")
        if assignee is not None:
            current = self.instance and self.instance.assigned_to_id
            attrs["assigned_to_id"] = assignee_id(assignee, asked_by=self.caller.id, current=current)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Task:
        with assignee_refused(validated_data["assigned_to_id"]):
            return Task.objects.make(by_id=self.caller.id, **validated_data)

    def update(self, instance: Task, validated_data: dict[str, Any]) -> Task:
        """Raises Task.DoesNotExist for a task that is gone or that the caller sees no longer, and StaleVersion."""
        tasks = Task.objects.visible_to(self.caller).filter(pk=instance.pk)
        with assignee_refused(validated_data.get("assigned_to_id")):
            changed = tasks.change(by_id=self.caller.id, **validated_data)
        if not changed:
            raise Task.DoesNotExist()
        return changed[0]
