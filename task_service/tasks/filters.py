"""The list's filters. They narrow what the caller may see and never widen it."""

from typing import Any

import django_filters

from chassis.filters import ChoiceFilter, DayFilter, IdOrWordFilter, SearchFilter, WordsFilter, YesNoFilter
from tasks.export import SEPARATORS
from tasks.models import Task, TaskQuerySet
from tasks.serializers import PRIORITY_SPELLINGS, STATUS_SPELLINGS

ME, NONE = "me", "none"


class TaskFilter(django_filters.FilterSet):
    status = WordsFilter(lookup_expr="in", spellings=STATUS_SPELLINGS)
    priority = WordsFilter(lookup_expr="in", spellings=PRIORITY_SPELLINGS)
    due_date = DayFilter()
    due_date_after = DayFilter(field_name="due_date", lookup_expr="gte")
    due_date_before = DayFilter(field_name="due_date", lookup_expr="lte")
    overdue = YesNoFilter(method="filter_overdue")
    assigned_to = IdOrWordFilter(method="filter_assigned_to", words=(ME, NONE))
    search = SearchFilter()

    class Meta:
        model = Task
        fields: list[str] = []

    def filter_overdue(self, tasks: TaskQuerySet, name: str, wanted: bool) -> TaskQuerySet:
        return tasks.overdue() if wanted else tasks.not_overdue()

    def filter_assigned_to(self, tasks: TaskQuerySet, name: str, who: Any) -> TaskQuerySet:
        if who == NONE:
            return tasks.unassigned()
        return tasks.filter(assigned_to=self.request.user.id if who == ME else who)

    def filter_queryset(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Search last: the ranks that a search brings along are parts of what all other filters keep."""
        text = self.form.cleaned_data.pop("search")
        kept: TaskQuerySet = super().filter_queryset(tasks)
        return kept.matching(text) if text else kept


class ExportFilter(TaskFilter):
    """The list's filters, and how the file is written."""

    bom = YesNoFilter(method="keep_all")
    separator = ChoiceFilter(method="keep_all", names=tuple(SEPARATORS))

    def keep_all(self, tasks: TaskQuerySet, name: str, value: Any) -> TaskQuerySet:
        return tasks
