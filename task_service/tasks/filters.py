"""The list's filters. They narrow what the caller may see and never widen it."""

from datetime import date
from typing import Any

import django_filters

from chassis.api.filters import (
    ChoiceFilter,
    DayFilter,
    DayOrWordFilter,
    SearchFilter,
    UsersFilter,
    WordsFilter,
    YesNoFilter,
)
from directory import accounts
from tasks.export import SEPARATORS
from tasks.models import Task, TaskQuerySet
from tasks.serializers import PRIORITY_SPELLINGS, STATUS_SPELLINGS

ME, NONE = "me", "none"


class TaskFilter(django_filters.FilterSet):
    status = WordsFilter(lookup_expr="in", spellings=STATUS_SPELLINGS, help_text="Tasks in one of these states.")
    priority = WordsFilter(
        lookup_expr="in", spellings=PRIORITY_SPELLINGS, help_text="Tasks of one of these priorities."
    )
    due_date = DayOrWordFilter(
        method="filter_due_date",
        word=NONE,
        help_text="Tasks that are due on this day, or `none` for those without a due date.",
    )
    due_date_after = DayFilter(
        field_name="due_date", lookup_expr="gte", help_text="Tasks that are due on this day or later."
    )
    due_date_before = DayFilter(
        field_name="due_date", lookup_expr="lte", help_text="Tasks that are due on this day or earlier."
    )
    completed_after = DayFilter(
        method="filter_completed_after", help_text="Tasks that were completed on this day of TIME_ZONE or later."
    )
    completed_before = DayFilter(
        method="filter_completed_before", help_text="Tasks that were completed on this day of TIME_ZONE or earlier."
    )
    overdue = YesNoFilter(method="filter_overdue", help_text="Those that are overdue, or those that are not.")
    due_soon = YesNoFilter(
        method="filter_due_soon",
        help_text="Those that are due soon (within DUE_SOON_DAYS) and not completed, or all others.",
    )
    assigned_to = UsersFilter(
        method="filter_users",
        words=(ME, NONE),
        help_text="Tasks of one of these: ids or usernames of accounts, `me`, or `none` for tasks of nobody.",
    )
    created_by = UsersFilter(
        method="filter_users",
        words=(ME,),
        help_text="Tasks that one of these made: ids or usernames of accounts, or `me`.",
    )
    search = SearchFilter(
        help_text="Words of title and description, by their beginning, without regard to case and accents; "
        '`"a phrase"`, `or`, `-not`. Without `ordering` the best come first.'
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
            ids |= accounts.ids_of(names)
        return tasks.of_users(name, ids, or_nobody=NONE in words)

    def filter_queryset(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Search last: the ranks that a search brings along are parts of what all other filters keep."""
        text = self.form.cleaned_data.pop("search")
        kept: TaskQuerySet = super().filter_queryset(tasks)
        return kept.matching(text) if text else kept


class ExportFilter(TaskFilter):
    """The list's filters, and how the file is written."""

    bom = YesNoFilter(
        method="keep_all",
        help_text="Whether the file begins with a byte order mark, by which spreadsheets know that it is UTF-8.",
    )
    separator = ChoiceFilter(
        method="keep_all", names=tuple(SEPARATORS), help_text="What stands between cells; `comma` by default."
    )

    def keep_all(self, tasks: TaskQuerySet, name: str, value: Any) -> TaskQuerySet:
        return tasks
