"""The filters of the list. They narrow the visible tasks and never widen them."""

from datetime import date
from typing import Any

import django_filters

from chassis.api.filters import (
    ChoiceFilter,
    ChoicesFilter,
    DateFilter,
    DateOrKeywordFilter,
    SearchFilter,
    StrictBooleanFilter,
    UsersFilter,
)
from directory import accounts
from tasks.export import SEPARATORS
from tasks.models import Task, TaskQuerySet
from tasks.serializers import PRIORITY_SPELLINGS, STATUS_SPELLINGS

ME, NONE = "me", "none"


class TaskFilter(django_filters.FilterSet):
    status = ChoicesFilter(lookup_expr="in", spellings=STATUS_SPELLINGS)
    priority = ChoicesFilter(lookup_expr="in", spellings=PRIORITY_SPELLINGS)
    due_date = DateOrKeywordFilter(method="filter_due_date", keyword=NONE)
    due_date_after = DateFilter(field_name="due_date", lookup_expr="gte")
    due_date_before = DateFilter(field_name="due_date", lookup_expr="lte")
    completed_after = DateFilter(method="filter_completed_after")
    completed_before = DateFilter(method="filter_completed_before")
    overdue = StrictBooleanFilter(method="filter_overdue")
    due_soon = StrictBooleanFilter(method="filter_due_soon")
    assigned_to = UsersFilter(method="filter_users", keywords=(ME, NONE))
    created_by = UsersFilter(method="filter_users", keywords=(ME,))
    search = SearchFilter()

    class Meta:
        model = Task
        fields: list[str] = []

    def filter_due_date(self, tasks: TaskQuerySet, name: str, day: date | str) -> TaskQuerySet:
        return tasks.filter(due_date=None if day == NONE else day)

    def filter_completed_after(self, tasks: TaskQuerySet, name: str, day: date) -> TaskQuerySet:
        return tasks.completed_from(day)

    def filter_completed_before(self, tasks: TaskQuerySet, name: str, day: date) -> TaskQuerySet:
        return tasks.completed_until(day)

    def filter_overdue(self, tasks: TaskQuerySet, name: str, wanted: bool) -> TaskQuerySet:
        return tasks.overdue() if wanted else tasks.not_overdue()

    def filter_due_soon(self, tasks: TaskQuerySet, name: str, wanted: bool) -> TaskQuerySet:
        return tasks.due_soon() if wanted else tasks.not_due_soon()

    def filter_users(self, tasks: TaskQuerySet, name: str, users: list[int | str]) -> TaskQuerySet:
        ids = {user for user in users if isinstance(user, int)}
        words = {user for user in users if isinstance(user, str)}
        if ME in words:
            ids.add(self.request.user.id)
        if names := words - {ME, NONE}:
            ids |= accounts.ids_of(names)
        return tasks.with_user(name, ids, or_nobody=NONE in words)

    def filter_queryset(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Search last: the ranks of a search are parts of the otherwise filtered tasks."""
        text = self.form.cleaned_data.pop("search")
        filtered: TaskQuerySet = super().filter_queryset(tasks)
        return filtered.matching(text) if text else filtered


class ExportFilter(TaskFilter):
    """The filters of the list, and the format of the file."""

    bom = StrictBooleanFilter(method="keep_all")
    separator = ChoiceFilter(method="keep_all", names=tuple(SEPARATORS))

    def keep_all(self, tasks: TaskQuerySet, name: str, value: Any) -> TaskQuerySet:
        return tasks
