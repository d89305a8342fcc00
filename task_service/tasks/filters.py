"""The list's filters. They narrow what the caller may see and never widen it."""

import re
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework.exceptions import ErrorDetail
from rest_framework.exceptions import ValidationError as APIValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from chassis.fields import day
from chassis.tokens import LARGEST_ID
from tasks.models import Task, TaskQuerySet
from tasks.serializers import PRIORITY_SPELLINGS, STATUS_SPELLINGS

ME, NONE = "me", "none"


class WordsField(forms.Field):
    """Several choices, by repetition or commas: ?status=todo,completed or ?status=todo&status=completed."""

    widget = forms.MultipleHiddenInput

    def __init__(self, *, spellings: dict[str, Any], **kwargs: Any) -> None:
        self.spellings = spellings
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> list[Any]:
        words = [word.strip() for item in value or [] for word in item.split(",")]
        unknown = [word for word in words if word.casefold() not in self.spellings]
        if unknown:
            known = ", ".join(dict.fromkeys(str(word) for word in self.spellings if " " not in word))
            raise ValidationError(f"{unknown[0]!r} is none of: {known}.", code="invalid")
        return sorted({self.spellings[word.casefold()] for word in words})


class DayField(forms.Field):
    def to_python(self, value: Any) -> Any:
        try:
            return day(value) if value is not None else None
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from error


class AssigneeField(forms.Field):
    def to_python(self, value: Any) -> Any:
        if value in (None, ME, NONE):
            return value
        if not re.fullmatch("[1-9][0-9]{0,18}", value) or int(value) > LARGEST_ID:
            raise ValidationError(f"Must be the id of a user, {ME!r} or {NONE!r}.", code="invalid")
        return int(value)


class YesNoField(forms.Field):
    def to_python(self, value: Any) -> bool | None:
        if value not in (None, "true", "false"):
            raise ValidationError("Must be true or false.", code="invalid")
        return None if value is None else value == "true"


class WordsFilter(django_filters.Filter):
    field_class = WordsField


class DayFilter(django_filters.Filter):
    field_class = DayField


class AssigneeFilter(django_filters.Filter):
    field_class = AssigneeField


class YesNoFilter(django_filters.Filter):
    field_class = YesNoField


class TaskFilter(django_filters.FilterSet):
    status = WordsFilter(lookup_expr="in", spellings=STATUS_SPELLINGS)
    priority = WordsFilter(lookup_expr="in", spellings=PRIORITY_SPELLINGS)
    due_date = DayFilter()
    due_date_after = DayFilter(field_name="due_date", lookup_expr="gte")
    due_date_before = DayFilter(field_name="due_date", lookup_expr="lte")
    overdue = YesNoFilter(method="filter_overdue")
    assigned_to = AssigneeFilter(method="filter_assigned_to")

    class Meta:
        model = Task
        fields: list[str] = []

    def filter_overdue(self, tasks: TaskQuerySet, name: str, wanted: bool) -> TaskQuerySet:
        return tasks.overdue() if wanted else tasks.exclude(pk__in=Task.objects.overdue().values("pk"))

    def filter_assigned_to(self, tasks: TaskQuerySet, name: str, who: int | str) -> TaskQuerySet:
        if who == NONE:
            return tasks.filter(assigned_to__isnull=True)
        return tasks.filter(assigned_to=self.request.user.id if who == ME else who)


class TaskFilterBackend(BaseFilterBackend):
    """Apply TaskFilter; a value that cannot be is 400 and names the parameter."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        if not TaskFilter.base_filters.keys() & request.query_params.keys():
            return queryset
        chosen = TaskFilter(request.query_params, queryset=queryset, request=request)
        if not chosen.is_valid():
            raise APIValidationError(
                {
                    name: [
                        ErrorDetail(str(error.messages[0]), code=error.code or "invalid") for error in errors.as_data()
                    ]
                    for name, errors in chosen.errors.items()
                }
            )
        return chosen.qs
