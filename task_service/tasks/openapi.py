"""Schemas that only the API documentation needs: the objects in a bulk change, and two responses."""

from typing import Any

from drf_yasg import openapi
from drf_yasg.inspectors import NotHandled
from rest_framework import serializers

from chassis.api.fields import AnyField
from chassis.openapi.inspectors import SerializerInspector
from chassis.openapi.responses import ProblemSerializer
from chassis.openapi.schemas import value_schema
from tasks.bulk import BulkSerializer, FilterField
from tasks.filters import TaskFilter
from tasks.models import Task
from tasks.serializers import TaskSerializer
from tasks.serializers.fields import INTEGER_OR_STRING
from tasks.summary import MAX_COUNT, MORE

COUNT = f'An integer, or the string "{MORE}" for more than {MAX_COUNT}.'
ACTUAL_COUNT = f'The number of tasks that match the filter; "{MORE}" for more than {MAX_COUNT}.'


class StatusCountsSerializer(serializers.Serializer):
    def get_fields(self) -> dict[str, serializers.Field]:
        return {status: AnyField(help_text=COUNT) for status in Task.Status.values}


class SummarySerializer(serializers.Serializer):
    total = AnyField(help_text=COUNT)
    by_status = StatusCountsSerializer()
    overdue = AnyField(help_text=COUNT)
    due_soon = AnyField(help_text=COUNT)
    unassigned = AnyField(help_text=COUNT)

    class Meta:
        by_status = {"todo": 1, "in_progress": 0, "completed": 2}
        example = {"total": 3, "by_status": by_status, "overdue": 0, "due_soon": 1, "unassigned": 0}
        swagger_schema_fields = {"example": example}


class CountProblemSerializer(ProblemSerializer):
    actual_count = AnyField(required=False, help_text=ACTUAL_COUNT)


class BulkInspector(SerializerInspector):
    """Describes the `filter` and the `set` of a bulk change."""

    def field_to_swagger_object(self, field: Any, swagger_object_type: Any, use_references: bool, **kwargs: Any) -> Any:
        if not isinstance(field.parent, BulkSerializer) or not isinstance(field, serializers.DictField):
            return NotHandled
        if isinstance(field, FilterField):
            properties = {name: filter_member(each) for name, each in TaskFilter.base_filters.items()}
            schema = openapi.Schema(type=openapi.TYPE_OBJECT, properties=properties, additional_properties=False)
        else:
            schema = self.object_schema(TaskSerializer(partial=True, context=field.context))
            del schema["example"]
        schema |= {"description": field.help_text, "minProperties": 1}
        return schema


def filter_member(filter_: Any) -> dict[str, Any]:
    """Return the schema of a filter in a JSON object, where the id of a user may be an integer."""
    schema = dict(value_schema(filter_) or {})
    if schema["type"] == openapi.TYPE_STRING:
        schema["minLength"] = 1
    if schema.pop("collectionFormat", None) and "pattern" in schema["items"]:
        schema["items"] = {"pattern": schema["items"]["pattern"]} | INTEGER_OR_STRING
    return schema
