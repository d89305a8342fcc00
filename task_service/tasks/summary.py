"""Counts of tasks, in one statement, each up to a limit."""

from collections.abc import Collection
from datetime import date
from functools import cache, lru_cache
from typing import Any

from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, parameter
from tasks import large_counts
from tasks.large_counts import Compiled
from tasks.models import Task, TaskQuerySet, visible_values
from tasks.models.days import due_soon_range

MAX_COUNT = 10_000
MORE = f"{MAX_COUNT}+"
COMPLETION = frozenset({"completed_after", "completed_before"})
COLUMNS = ("id", "status", "due_date", "assigned_to", "created_at", "completed_at")


def summary_of_visible(caller: Caller) -> tuple[dict[str, Any], str]:
    """Return the summary of all tasks that the caller can see, and the state for its stamp."""
    required = visible_values(caller)
    return summary_of(visible_tasks(*required).bind(**required), ())


@cache
def visible_tasks(*required: str) -> CompiledQuery:
    return CompiledQuery(lambda: Task.objects.filter(**{name: parameter(name) for name in required}).values(*COLUMNS))


def summary(tasks: TaskQuerySet, filters: Collection[str]) -> tuple[dict[str, Any], str]:
    """Return the summary of `tasks`, which were narrowed by filters with these names, and the state for its stamp."""
    return summary_of(tasks.order_by().values(*COLUMNS).query.sql_with_params(), filters)


def summary_of(tasks: Compiled, filters: Collection[str]) -> tuple[dict[str, Any], str]:
    """Return the number of `tasks` by status, overdue, due soon and unassigned, and the state for the stamp.

    More than 10,000 is "10000+".
    """
    limit = MAX_COUNT + large_counts.MARGIN
    subsets = compiled_subsets(limit, due_soon_range(), index_order(filters))
    numbers, state = large_counts.count(tasks, subsets, limit, may_remember="search" not in filters)
    counts = dict(zip(subsets, numbers, strict=True))
    by_status = {status.value: counts.pop(status.value) for status in Task.Status}
    counted = {
        "total": format_count(sum(by_status.values())),
        "by_status": {status: format_count(count) for status, count in by_status.items()},
        **{name: format_count(count) for name, count in counts.items()},
    }
    return counted, state


def index_order(filters: Collection[str]) -> tuple[str, ...]:
    """Return the order of the best index for counting tasks of one status with these filters.

    The indexes task_counted and task_counted_of_assignee have the columns of all other filters.
    """
    if "search" in filters:
        return "-created_at", "-id"
    if not COMPLETION.isdisjoint(filters):
        return ("completed_at",)
    return ("assigned_to_id", "status", "due_date") if "assigned_to" in filters else ("status", "due_date")


@lru_cache(maxsize=8)  # compiling them takes longer than counting
def compiled_subsets(limit: int, due_soon: tuple[date, date], order: tuple[str, ...]) -> dict[str, Compiled]:
    """Return the statements of the subsets, each up to `limit` rows. `due_soon` changes with the day."""
    subsets = subsets_of(Task.objects.values("status"), order)
    return {name: first_of(parts, limit).query.sql_with_params() for name, parts in subsets.items()}


def subsets_of(tasks: TaskQuerySet, order: tuple[str, ...]) -> dict[str, list[TaskQuerySet]]:
    """Return the parts of each subset. Each is sorted as an index is, so that PostgreSQL stops at the limit."""
    by_status = {status.value: tasks.filter(status=status).order_by(*order) for status in Task.Status}
    open_parts = [part for status, part in by_status.items() if status != Task.Status.COMPLETED]
    return {
        **{status: [part] for status, part in by_status.items()},
        "overdue": [part.overdue() for part in open_parts],
        "due_soon": [part.due_soon() for part in open_parts],
        "unassigned": [tasks.unassigned().order_by("assigned_to_id", *order)],
    }


def first_of(parts: list[TaskQuerySet], limit: int) -> TaskQuerySet:
    first, *others = (part[:limit] for part in parts)
    return first.union(*others, all=True)[:limit] if others else first


def capped_count(tasks: TaskQuerySet) -> int:
    return tasks.order_by()[: MAX_COUNT + 1].count()


def format_count(count: int) -> int | str:
    return count if count <= MAX_COUNT else MORE
