"""One change of many tasks."""

from typing import Any

from django.db import transaction
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from chassis.fields import IdsField
from chassis.serializers import StrictSerializer
from directory import accounts
from tasks.models import Task
from tasks.serializers.refusals import assignee_refused
from tasks.serializers.task import TaskSerializer


class BulkSerializer(StrictSerializer):
    """Which tasks get which values. `set` is checked like the body of a PATCH."""

    ids = IdsField(most=100)
    set = serializers.DictField(allow_empty=False)

    def validate_set(self, values: dict[str, Any]) -> dict[str, Any]:
        checked: dict[str, Any] = TaskSerializer(partial=True, context=self.context).to_internal_value(values)
        return checked

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask about the assignee last, when nothing else is wrong."""
        assignee = attrs["set"].get("assigned_to_id")
        if assignee is not None:
            with assignee_refused(assignee, field="set.assigned_to"):
                accounts.vouch_for(assignee, asked_by=self.context["request"].user.id)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> list[Task]:
        """Change all, or none where one does not exist; return them in the order of `ids`."""
        ids, values = validated_data["ids"], validated_data["set"]
        by_id = self.context["request"].user.id
        with assignee_refused(values.get("assigned_to_id"), field="set.assigned_to"), transaction.atomic():
            tasks = {task.pk: task for task in Task.objects.filter(pk__in=ids).change(by_id=by_id, **values)}
            if missing := [id_ for id_ in ids if id_ not in tasks]:
                detail = f"There are no tasks with these ids: {', '.join(map(str, missing))}."
                raise ValidationError({"ids": [ErrorDetail(detail, code="unknown_task")]})
        return [tasks[id_] for id_ in ids]
