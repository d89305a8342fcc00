"""Counts of tasks, in one statement, each up to a limit."""

from collections.abc import Collection, Sequence
from datetime import date
from functools import cache, lru_cache
from typing import Any

from django.db import connection

from chassis import prepared
from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, parameter
from tasks.models import Task, TaskQuerySet, visible_values
from tasks.models.days import due_soon_range

MAX_COUNT = 10_000
MORE = f"{MAX_COUNT}+"
COMPLETION = frozenset({"completed_after", "completed_before"})
COLUMNS = ("id", "status", "due_date", "assigned_to", "created_at", "completed_at")
# Each count reads these tasks by its own index: PostgreSQL puts the filters into each.
STATEMENT = "WITH tasks_task AS NOT MATERIALIZED ({}) SELECT {}"
COUNT = "(SELECT count(*) FROM ({}) AS counted)"

Compiled = tuple[str, Sequence[Any]]


def summary_of_visible(caller: Caller) -> dict[str, Any]:
    """Return the summary of all tasks that the caller can see."""
    required = visible_values(caller)
    return summary_of(visible_tasks(*required).bind(**required), index_order(()))


@cache
def visible_tasks(*required: str) -> CompiledQuery:
    return CompiledQuery(lambda: Task.objects.filter(**{name: parameter(name) for name in required}).values(*COLUMNS))


def summary(tasks: TaskQuerySet, filters: Collection[str]) -> dict[str, Any]:
    """Return the summary of `tasks`, which were narrowed by filters with these names."""
    return summary_of(tasks.order_by().values(*COLUMNS).query.sql_with_params(), index_order(filters))


def summary_of(tasks: Compiled, order: tuple[str, ...]) -> dict[str, Any]:
    """Return the number of `tasks` by status, overdue, due soon and unassigned. More than 10,000 is "10000+"."""
    counts = capped_counts(tasks, order)
    by_status = {status.value: counts.pop(status.value) for status in Task.Status}
    return {
        "total": format_count(sum(by_status.values())),
        "by_status": {status: format_count(count) for status, count in by_status.items()},
        **{name: format_count(count) for name, count in counts.items()},
    }


def index_order(filters: Collection[str]) -> tuple[str, ...]:
    """Return the order of the best index for counting tasks of one status with these filters.

    The indexes task_counted and task_counted_of_assignee have the columns of all other filters.
    """
    if "search" in filters:
        return "-created_at", "-id"
    if not COMPLETION.isdisjoint(filters):
        return ("completed_at",)
    return ("assigned_to_id", "status", "due_date") if "assigned_to" in filters else ("status", "due_date")


def capped_counts(tasks: Compiled, order: tuple[str, ...]) -> dict[str, int]:
    filtered, values = tasks
    subsets = compiled_subsets(MAX_COUNT + 1, due_soon_range(), order)
    columns = ", ".join(COUNT.format(sql) for sql, _ in subsets.values())
    values = [*values, *(value for _, more in subsets.values() for value in more)]
    with connection.cursor() as cursor:
        prepared.execute(cursor, STATEMENT.format(filtered, columns), values)
        return dict(zip(subsets, cursor.fetchone(), strict=True))


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
