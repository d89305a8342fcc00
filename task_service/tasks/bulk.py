"""Change or delete many tasks at once, chosen by ids or by the filters of the list."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.http import QueryDict
from django_filters.utils import translate_validation
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from chassis.api.fields import IdField, IdsField, is_id
from chassis.api.filters import ChoicesFilter, StrictBooleanFilter, UsersFilter
from chassis.api.problems import Conflict
from chassis.api.serializers import MAX_REPORTED_ERRORS, StrictSerializer, unknown_name
from tasks.examples import COMPLETED_TASK
from tasks.filters import TaskFilter
from tasks.models import Task, TaskQuerySet, UnexpectedCount
from tasks.serializers import TaskSerializer
from tasks.serializers.assignee import assignee_errors, assignee_id
from tasks.summary import capped_count, format_count

MAX_IDS, MAX_MATCHING = 100, 1000  # per request: by ids, and by a filter


class CountDiffers(Conflict):
    default_code = "count_differs"

    def __init__(self, actual: int | str) -> None:
        super().__init__(f"{actual} tasks match the filter; nothing was changed.")
        self.members = {"actual_count": actual}


class CountNeeded(ValidationError):
    def __init__(self, actual: int | str) -> None:
        detail = f"{actual} tasks match the filter; send that number to change them."
        super().__init__({"expected_count": [ErrorDetail(detail, code="required")]})
        self.members = {"actual_count": actual}


class CountField(serializers.Field):
    class Meta:
        swagger_body_schema = {"type": "integer", "minimum": 0, "maximum": MAX_MATCHING}

    default_error_messages = {"invalid": f"Must be a whole number from 0 to {MAX_MATCHING}."}

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int or not 0 <= data <= MAX_MATCHING:
            self.fail("invalid")
        return data


class TrueField(serializers.Field):
    class Meta:
        swagger_body_schema = {"type": "boolean", "enum": [True]}

    default_error_messages = {"invalid": "Must be true or omitted."}

    def to_internal_value(self, data: Any) -> bool:
        if data is not True:
            self.fail("invalid")
        return True


class FilterField(serializers.DictField):
    """The filters of the list as JSON: booleans, lists if several values are possible, otherwise strings."""

    def to_internal_value(self, data: Any) -> QueryDict:
        values = super().to_internal_value(data)
        query = QueryDict(mutable=True)
        errors: dict[str, list[ErrorDetail]] = {}
        for name, value in values.items():
            if len(errors) == MAX_REPORTED_ERRORS:
                break
            if name not in TaskFilter.base_filters:
                text = unknown_name("filter", name, TaskFilter.base_filters)
                errors[name] = [ErrorDetail(text, code="unknown_filter")]
            elif (parameters := as_parameters(TaskFilter.base_filters[name], value)) is None:
                errors[name] = [ErrorDetail("Has the wrong type for this filter.", code="invalid")]
            else:
                query.setlist(name, parameters)
        if errors:
            raise ValidationError(errors)
        return query


def as_parameters(filter_: Any, value: Any) -> list[str] | None:
    """Return the query parameters equivalent to a JSON value, or None if it has the wrong type."""
    if isinstance(filter_, StrictBooleanFilter):
        return [str(value)] if isinstance(value, bool) else None
    if not isinstance(filter_, ChoicesFilter | UsersFilter):
        return [value] if isinstance(value, str) and value else None
    if not isinstance(value, list) or not value:
        return None
    takes_ids = isinstance(filter_, UsersFilter)
    is_valid = all((isinstance(each, str) and "," not in each) or (takes_ids and is_id(each)) for each in value)
    return [str(each) for each in value] if is_valid else None


class BulkSerializer(StrictSerializer):
    """The body of a bulk request. `set` is validated like the body of a PATCH."""

    ids = IdsField(max_ids=MAX_IDS, required=False, help_text="The ids of the tasks.")
    filter = FilterField(
        allow_empty=False,
        required=False,
        help_text="Chooses the tasks by the filters of the list, instead of by `ids`. `search` and dates are strings, "
        "`overdue` and `due_soon` are booleans, all others are lists.",
    )
    expected_count = CountField(required=False, help_text="The number of tasks that the filter should match.")
    set = serializers.DictField(
        allow_empty=False, required=False, help_text="The values to set in each task, as in the body of a PATCH."
    )
    delete = TrueField(required=False, help_text="Deletes the tasks of `ids`.")

    @property
    def caller_id(self) -> int:
        return int(self.context["request"].user.id)

    def validate_set(self, values: dict[str, Any]) -> dict[str, Any]:
        checked: dict[str, Any] = TaskSerializer(partial=True, context=self.context).to_internal_value(values)
        return checked

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if errors := dict(contradictions(attrs)):
            raise ValidationError(errors)
        if "filter" in attrs:
            attrs["tasks"] = self.matching(attrs["filter"])
        return attrs

    def matching(self, query: QueryDict) -> TaskQuerySet:
        filterset = TaskFilter(query, queryset=Task.objects.all(), request=self.context["request"])
        if not filterset.is_valid():
            raise ValidationError({"filter": translate_validation(filterset.errors).detail})
        tasks: TaskQuerySet = filterset.qs
        return tasks

    def create(self, validated_data: dict[str, Any]) -> list[Task]:
        """Change or delete all tasks or none; return them in the order of `ids`, or sorted by id for a filter.

        The assignee is looked up last, once everything else is valid.
        """
        if "filter" in validated_data and "expected_count" not in validated_data:
            raise missing_count(validated_data["tasks"])
        values = validated_data.get("set", {})
        if (assignee := values.get("assigned_to_id")) is not None:
            values["assigned_to_id"] = assignee_id(assignee, asked_by=self.caller_id, field="set.assigned_to")
        if "filter" in validated_data:
            return self.change_matching(validated_data["tasks"], validated_data["expected_count"])
        return self.change_or_delete(validated_data["ids"])

    def change_or_delete(self, ids: list[int]) -> list[Task]:
        queryset = Task.objects.filter(pk__in=ids)
        with transaction.atomic():
            is_deletion = "delete" in self.validated_data
            done = queryset.remove(by_id=self.caller_id) if is_deletion else self.change(queryset)
            tasks = {task.pk: task for task in done}
            if missing := [id_ for id_ in ids if id_ not in tasks]:
                detail = f"There are no tasks with these ids: {', '.join(map(str, missing))}."
                raise ValidationError({"ids": [ErrorDetail(detail, code="unknown_task")]})
        return [tasks[id_] for id_ in ids]

    def change_matching(self, tasks: TaskQuerySet, expected_count: int) -> list[Task]:
        try:
            return self.change(tasks, expected_count=expected_count)
        except UnexpectedCount as error:
            raise CountDiffers(format_count(capped_count(tasks))) from error

    def change(self, tasks: TaskQuerySet, **options: Any) -> list[Task]:
        values = self.validated_data["set"]
        with assignee_errors(values.get("assigned_to_id"), field="set.assigned_to"):
            return tasks.change(by_id=self.caller_id, **options, **values)


class ChangedSerializer(serializers.Serializer):
    """The response to a bulk change: one of these fields. Needs the request in its context."""

    updated = TaskSerializer(many=True, required=False, help_text="The changed tasks, if `ids` chose them.")
    updated_ids = serializers.ListField(
        child=IdField(), required=False, help_text="The ids of the changed tasks, if a `filter` chose them."
    )
    deleted_ids = serializers.ListField(child=IdField(), required=False, help_text="The ids of the deleted tasks.")

    class Meta:
        swagger_schema_fields = {"example": {"updated": [COMPLETED_TASK]}}


def contradictions(attrs: dict[str, Any]) -> Iterator[tuple[str, list[ErrorDetail]]]:
    """Yield errors for missing members and for members that exclude each other."""
    if "ids" not in attrs and "filter" not in attrs:
        yield "ids", [ErrorDetail("Choose the tasks by `ids` or by a `filter`.", code="required")]
    if "set" not in attrs and "delete" not in attrs:
        yield "set", [ErrorDetail("Give the values to set, or `delete` the tasks.", code="required")]
    for name, other in (("filter", "ids"), ("delete", "set"), ("delete", "filter"), ("expected_count", "ids")):
        if name in attrs and other in attrs:
            yield name, [ErrorDetail(f"Cannot be combined with `{other}`.", code="contradictory")]


def missing_count(tasks: TaskQuerySet) -> ValidationError:
    count = capped_count(tasks)
    if count > MAX_MATCHING:
        detail = f"{format_count(count)} tasks match; at most {MAX_MATCHING} can be changed at once. Narrow the filter."
        return ValidationError({"filter": [ErrorDetail(detail, code="too_many")]})
    return CountNeeded(count)
