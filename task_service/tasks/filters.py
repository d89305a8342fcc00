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
    status = ChoicesFilter(lookup_expr="in", spellings=STATUS_SPELLINGS, help_text="Tasks with one of these statuses.")
    priority = ChoicesFilter(
        lookup_expr="in", spellings=PRIORITY_SPELLINGS, help_text="Tasks with one of these priorities."
    )
    due_date = DateOrKeywordFilter(
        method="filter_due_date",
        keyword=NONE,
        help_text="Tasks that are due on this date; `none` selects tasks without a due date.",
    )
    due_date_after = DateFilter(
        field_name="due_date", lookup_expr="gte", help_text="Tasks that are due on this date or later."
    )
    due_date_before = DateFilter(
        field_name="due_date", lookup_expr="lte", help_text="Tasks that are due on this date or earlier."
    )
    completed_after = DateFilter(
        method="filter_completed_after", help_text="Tasks that were completed on this date (in TIME_ZONE) or later."
    )
    completed_before = DateFilter(
        method="filter_completed_before", help_text="Tasks that were completed on this date (in TIME_ZONE) or earlier."
    )
    overdue = StrictBooleanFilter(method="filter_overdue", help_text="Whether the task is overdue.")
    due_soon = StrictBooleanFilter(
        method="filter_due_soon",
        help_text="Whether the task is due within DUE_SOON_DAYS and not completed.",
    )
    assigned_to = UsersFilter(
        method="filter_users",
        keywords=(ME, NONE),
        help_text="Tasks assigned to one of these accounts: ids or usernames, `me`, or `none` for no assignee.",
    )
    created_by = UsersFilter(
        method="filter_users",
        keywords=(ME,),
        help_text="Tasks created by one of these accounts: ids or usernames, or `me`.",
    )
    search = SearchFilter(
        help_text="Searches title and description for words with these prefixes, ignoring case and accents; supports "
        '`"a phrase"`, `or` and `-not`. Without `ordering`, the best matches come first.'
    )

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
            ids |= accounts.find_ids_by_username(names)
        return tasks.with_user(name, ids, or_nobody=NONE in words)

    def filter_queryset(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Search last: the ranks of a search are parts of the otherwise filtered tasks."""
        text = self.form.cleaned_data.pop("search", None)
        filtered: TaskQuerySet = super().filter_queryset(tasks)
        among_all = self.request.user.is_admin and "assigned_to" not in self.data
        return filtered.matching(text, among_all=among_all) if text else filtered


class ExportFilter(TaskFilter):
    """The filters of the list, and the format of the file."""

    bom = StrictBooleanFilter(
        method="keep_all",
        help_text="Whether the file begins with a byte order mark, which tells spreadsheets that it is UTF-8.",
    )
    separator = ChoiceFilter(
        method="keep_all", names=tuple(SEPARATORS), help_text="The separator between cells; `comma` by default."
    )

    def keep_all(self, tasks: TaskQuerySet, name: str, value: Any) -> TaskQuerySet:
        return tasks
