"""The JSON of a task as PostgreSQL writes it, for reads: the same bytes as TaskSerializer, without a Python object."""

from datetime import date
from functools import cache

from django.db.models import TextField
from django.db.models.expressions import RawSQL
from django.utils import timezone

from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, Parameter, parameter
from tasks import stamps
from tasks.models import Task, TaskQuerySet, visible_values

INSTANT = "to_char(tasks_task.{} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
TEMPLATE = """(
    SELECT row_to_json(task)::text FROM (
        SELECT
            tasks_task.id, tasks_task.title, tasks_task.description, tasks_task.status,
            CASE tasks_task.status {status_labels} END AS status_label,
            CASE tasks_task.priority {priorities} END AS priority,
            tasks_task.due_date,
            coalesce(tasks_task.status <> 'completed' AND tasks_task.due_date < %s, false) AS is_overdue,
            tasks_task.assigned_to,
            (
                SELECT row_to_json(assignee) FROM (
                    SELECT id, username FROM directory_user WHERE directory_user.id = tasks_task.assigned_to
                ) AS assignee
            ) AS assignee,
            tasks_task.created_by,
            {created_at} AS created_at,
            {updated_at} AS updated_at,
            {completed_at} AS completed_at,
            tasks_task.version
    ) AS task
)"""
ROW = TEMPLATE.format(
    status_labels=" ".join(f"WHEN '{status.value}' THEN '{status.label}'" for status in Task.Status),
    priorities=" ".join(f"WHEN {priority.value} THEN '{priority.label}'" for priority in Task.Priority),
    **{name: INSTANT.format(name) for name in ("created_at", "updated_at", "completed_at")},  # as utc_text does
)


def row_json(today: date | Parameter | None = None) -> RawSQL:
    """Return the JSON of a task as an expression of its queryset."""
    return RawSQL(ROW, [today or timezone.localdate()], output_field=TextField())  # noqa: S611 - constants only


def find(task_id: int, caller: Caller) -> tuple[int, str] | None:
    """Return version and JSON of a task, or None if the caller cannot see it."""
    required = visible_values(caller)
    row = visible_task(*required).first(id=task_id, today=timezone.localdate(), **required)
    return None if row is None else (row["version"], row["json"])


@cache
def visible_task(*required: str) -> CompiledQuery:
    names = {name: parameter(name) for name in ("id", *required)}
    json = row_json(Parameter("today"))
    return CompiledQuery(lambda: Task.objects.filter(**names).values("version").annotate(json=json))


def with_json(tasks: TaskQuerySet, today: date | Parameter | None = None) -> TaskQuerySet:
    """Annotate the JSON of each task, and the state for the stamp of the list."""
    annotated: TaskQuerySet = tasks.annotate(json=row_json(today), state=stamps.state())
    return annotated
