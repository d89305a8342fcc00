"""One change or deletion of many tasks, which are named by their ids or by the list's filters."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from chassis.api.fields import IdField, IdsField, is_id
from chassis.api.filters import UsersFilter, WordsFilter, YesNoFilter, narrow
from chassis.api.problems import Conflict
from chassis.api.serializers import MOST_NAMED, StrictSerializer, unknown
from tasks.examples import COMPLETED_TASK
from tasks.filters import TaskFilter
from tasks.models import Task, TaskQuerySet, UnexpectedCount
from tasks.serializers import TaskSerializer
from tasks.serializers.refusals import assignee_id, assignee_refused
from tasks.summary import capped_count, shown

MAX_IDS, MAX_MATCHING = 100, 1000  # tasks in one request: by ids, and by a filter


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

    default_error_messages = {"invalid": "Must be true, or left out."}

    def to_internal_value(self, data: Any) -> bool:
        if data is not True:
            self.fail("invalid")
        return True


class FilterField(serializers.DictField):
    """The list's filters as JSON: booleans, lists where several values are possible, or else strings."""

    def to_internal_value(self, data: Any) -> QueryDict:
        values = super().to_internal_value(data)
        query = QueryDict(mutable=True)
        errors: dict[str, list[ErrorDetail]] = {}
        for name, value in values.items():
            if len(errors) == MOST_NAMED:
                break
            if name not in TaskFilter.base_filters:
                text = unknown("filter", name, TaskFilter.base_filters)
                errors[name] = [ErrorDetail(text, code="unknown_filter")]
            elif (parameters := as_parameters(TaskFilter.base_filters[name], value)) is None:
                errors[name] = [ErrorDetail("Is of another type than this filter takes.", code="invalid")]
            else:
                query.setlist(name, parameters)
        if errors:
            raise ValidationError(errors)
        return query


def as_parameters(filter_: Any, value: Any) -> list[str] | None:
    """Return the query parameters that mean the same as a JSON value, or None if it is of a wrong type."""
    if isinstance(filter_, YesNoFilter):
        return [str(value)] if isinstance(value, bool) else None
    if not isinstance(filter_, WordsFilter | UsersFilter):
        return [value] if isinstance(value, str) and value else None
    if not isinstance(value, list) or not value:
        return None
    takes_ids = isinstance(filter_, UsersFilter)
    is_taken = all((isinstance(each, str) and "," not in each) or (takes_ids and is_id(each)) for each in value)
    return [str(each) for each in value] if is_taken else None


class BulkSerializer(StrictSerializer):
    """Which tasks are changed or deleted. `set` is checked like the body of a PATCH."""

    ids = IdsField(most=MAX_IDS, required=False, help_text="Which tasks.")
    filter = FilterField(
        allow_empty=False,
        required=False,
        help_text="Which tasks, instead of `ids`: the filters of the list. `search` and days are strings, `overdue` "
        "and `due_soon` booleans, all others lists.",
    )
    expected_count = CountField(required=False, help_text="How many tasks the filter matches.")
    set = serializers.DictField(
        allow_empty=False, required=False, help_text="What they all get, as in the body of a PATCH."
    )
    delete = TrueField(required=False, help_text="That the tasks of `ids` are deleted.")

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
        try:
            tasks: Any = narrow(TaskFilter, query, Task.objects.all(), self.context["request"])
        except ValidationError as error:
            raise ValidationError({"filter": error.detail}) from error
        found: TaskQuerySet = tasks
        return found

    def create(self, validated_data: dict[str, Any]) -> list[Task]:
        """Change or delete all, or none; return them in the order of `ids`, or of their own ids.

        The assignee is asked about last, when nothing else is wrong.
        """
        if "filter" in validated_data and "expected_count" not in validated_data:
            refuse_uncounted(validated_data["tasks"])
        values = validated_data.get("set", {})
        if (assignee := values.get("assigned_to_id")) is not None:
            values["assigned_to_id"] = assignee_id(assignee, asked_by=self.caller_id, field="set.assigned_to")
        if "filter" in validated_data:
            return self.change_matching(validated_data["tasks"], validated_data["expected_count"])
        ids = validated_data["ids"]
        named = Task.objects.filter(pk__in=ids)
        with transaction.atomic():
            done = named.remove(by_id=self.caller_id) if "delete" in validated_data else self.change(named)
            tasks = {task.pk: task for task in done}
            if missing := [id_ for id_ in ids if id_ not in tasks]:
                detail = f"There are no tasks with these ids: {', '.join(map(str, missing))}."
                raise ValidationError({"ids": [ErrorDetail(detail, code="unknown_task")]})
        return [tasks[id_] for id_ in ids]

    def change_matching(self, tasks: TaskQuerySet, expected_count: int) -> list[Task]:
        try:
            return self.change(tasks, expected_count=expected_count)
        except UnexpectedCount as error:
            raise CountDiffers(shown(capped_count(tasks))) from error

    def change(self, tasks: TaskQuerySet, **options: Any) -> list[Task]:
        values = self.validated_data["set"]
        with assignee_refused(values.get("assigned_to_id"), field="set.assigned_to"):
            return tasks.change(by_id=self.caller_id, **options, **values)


class ChangedSerializer(serializers.Serializer):
    """What a bulk change answers: one of these. Of the context it needs the request."""

    updated = TaskSerializer(many=True, required=False, help_text="Changed by `ids`.")
    updated_ids = serializers.ListField(child=IdField(), required=False, help_text="Changed by a `filter`.")
    deleted_ids = serializers.ListField(child=IdField(), required=False, help_text="Deleted.")

    class Meta:
        swagger_schema_fields = {"example": {"updated": [COMPLETED_TASK]}}


def contradictions(attrs: dict[str, Any]) -> Iterator[tuple[str, list[ErrorDetail]]]:
    """Yield what is missing, and what does not go together."""
    if "ids" not in attrs and "filter" not in attrs:
        yield "ids", [ErrorDetail("Name the tasks by `ids` or by a `filter`.", code="required")]
    if "set" not in attrs and "delete" not in attrs:
        yield "set", [ErrorDetail("Say what they get, or `delete` them.", code="required")]
    for name, other in (("filter", "ids"), ("delete", "set"), ("delete", "filter"), ("expected_count", "ids")):
        if name in attrs and other in attrs:
            yield name, [ErrorDetail(f"Does not go together with `{other}`.", code="contradictory")]


def refuse_uncounted(tasks: TaskQuerySet) -> None:
    count = capped_count(tasks)
    if count > MAX_MATCHING:
        detail = f"{shown(count)} tasks match; at most {MAX_MATCHING} are changed at once. Narrow the filter."
        raise ValidationError({"filter": [ErrorDetail(detail, code="too_many")]})
    raise CountNeeded(count)
