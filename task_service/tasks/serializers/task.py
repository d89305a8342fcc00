"""The JSON of a task, and the fields that can be set."""

from typing import Any

from rest_framework import serializers

from chassis.api.fields import DateField, IdField, SingleLineField, StringField
from chassis.api.serializers import StrictModelSerializer
from chassis.auth.tokens import Caller
from tasks.examples import TASK
from tasks.models import MAX_DESCRIPTION_LENGTH, Task
from tasks.serializers.assignee import assignee_errors, assignee_id
from tasks.serializers.fields import AssigneeField, AssigneeIdField, PriorityField, StatusField, StatusLabelField


class TaskSerializer(StrictModelSerializer):
    """Needs the request in its context, and tasks with assignee_name."""

    title = SingleLineField(max_length=200)
    description = StringField(default="", allow_blank=True, max_length=MAX_DESCRIPTION_LENGTH)
    status = StatusField(
        default=Task.Status.TODO,
        help_text='A request may also send the label, in any case: "To Do", "In Progress", "Completed".',
    )
    status_label = StatusLabelField(source="status", read_only=True)
    priority = PriorityField(default=Task.Priority.NORMAL)
    due_date = DateField(default=None, allow_null=True, help_text="YYYY-MM-DD, from 2000 to 2100.")
    is_overdue = serializers.BooleanField(
        read_only=True, help_text="Whether the due date has passed and the task is not completed."
    )
    assigned_to = AssigneeIdField(
        source="assigned_to_id",
        default=None,
        allow_null=True,
        help_text="The id of an active account (integer), or null for no assignee. A request may also send the "
        "username (string, in any case).",
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
        validators: list[Any] = []  # so that DRF does not look for unique columns in each request
        extra_kwargs = {
            "completed_at": {"help_text": "When the task was completed; null if it is not."},
            "version": {"help_text": "The number of the last change; 1 for a new task."},
        }
        swagger_schema_fields = {"example": TASK}

    @property
    def caller(self) -> Caller:
        caller: Caller = self.context["request"].user
        return caller

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Look the assignee up last, once everything else is valid, and only a new one."""
        assignee = attrs.get("assigned_to_id")
        if assignee is not None:
            current = self.instance and self.instance.assigned_to_id
            attrs["assigned_to_id"] = assignee_id(assignee, asked_by=self.caller.id, current=current)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Task:
        with assignee_errors(validated_data["assigned_to_id"]):
            return Task.objects.create_task(by=self.caller, **validated_data)

    def update(self, instance: Task, validated_data: dict[str, Any]) -> Task:
        """Raise Task.DoesNotExist if the task is deleted or no longer visible to the caller, or StaleVersion.

        Needs an instance of the expected version. If that has changed meanwhile, the task is locked and read again.
        """
        versions = validated_data.pop("versions", None)
        with assignee_errors(validated_data.get("assigned_to_id")):
            if instance.change(by_id=self.caller.id, **validated_data):
                return instance
            tasks = Task.objects.visible_to(self.caller).filter(pk=instance.pk)
            changed = tasks.change(by_id=self.caller.id, versions=versions, **validated_data)
        if not changed:
            raise Task.DoesNotExist()
        return changed[0]
