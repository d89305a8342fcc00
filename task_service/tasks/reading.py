"""Reading one task: the most frequent request."""

from functools import cache

from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, parameter
from tasks.models import Task, visible_values

COLUMNS = [field.attname for field in Task._meta.concrete_fields if field.attname != "search_document"]


def find(task_id: int, caller: Caller) -> Task | None:
    """Return a task with its assignee_name, or None if the caller cannot see it."""
    required = visible_values(caller)
    row = visible_task(*required).first(id=task_id, **required)
    if row is None:
        return None
    *values, assignee_name = row.values()
    task = Task.from_db("default", COLUMNS, values)
    task.assignee_name = assignee_name
    return task


@cache
def visible_task(*required: str) -> CompiledQuery:
    names = {name: parameter(name) for name in ("id", *required)}
    return CompiledQuery(lambda: Task.objects.with_assignee().filter(**names))
