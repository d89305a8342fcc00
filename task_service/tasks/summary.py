"""Counts of tasks, in one statement, each up to a limit."""

from typing import Any

from django.db import connection

from tasks.models import Task, TaskQuerySet

MAX_COUNT = 10_000
MORE = f"{MAX_COUNT}+"
COUNT = "(SELECT count(*) FROM ({}) AS counted)"


def summary(tasks: TaskQuerySet) -> dict[str, Any]:
    """Return the number of `tasks` by status, overdue, due soon and unassigned. More than 10,000 is "10000+"."""
    # Each in the order of an index: PostgreSQL counts along it and stops at the limit.
    newest, by_due_date = tasks.order_by("-created_at", "-id"), tasks.order_by("due_date")
    subsets = {status.value: newest.filter(status=status) for status in Task.Status}
    subsets |= {"overdue": by_due_date.overdue(), "due_soon": by_due_date.due_soon()}
    subsets["unassigned"] = tasks.order_by("assigned_to_id", "-id").unassigned()
    counts = capped_counts(subsets)
    by_status = {status.value: counts.pop(status.value) for status in Task.Status}
    return {
        "total": format_count(sum(by_status.values())),
        "by_status": {status: format_count(count) for status, count in by_status.items()},
        **{name: format_count(count) for name, count in counts.items()},
    }


def capped_counts(subsets: dict[str, TaskQuerySet]) -> dict[str, int]:
    capped = (tasks.values("pk")[: MAX_COUNT + 1] for tasks in subsets.values())
    statements = [tasks.query.sql_with_params() for tasks in capped]
    columns = ", ".join(COUNT.format(sql) for sql, _ in statements)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns}", [value for _, values in statements for value in values])
        return dict(zip(subsets, cursor.fetchone(), strict=True))


def capped_count(tasks: TaskQuerySet) -> int:
    return tasks.order_by()[: MAX_COUNT + 1].count()


def format_count(count: int) -> int | str:
    return count if count <= MAX_COUNT else MORE
