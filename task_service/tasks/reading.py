"""The task that a request is about to change, read with constant SQL."""

import json
from functools import cache

from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, parameter
from tasks.models import Task, visible_values

FIELDS = [field.attname for field in Task._meta.concrete_fields if field.attname != "search_document"]


def find_with_accounts(task_id: int, caller: Caller) -> Task | None:
    """Return a task as TaskQuerySet.with_accounts(), or None if the caller cannot see it."""
    required = visible_values(caller)
    row = visible_task(*required).first(id=task_id, caller_id=caller.id, **required)
    if row is None:
        return None
    *values, assignee_name, accounts, actor_name = row.values()
    task = Task.from_db("default", FIELDS, values)
    task.assignee_name, task.actor_name = assignee_name, actor_name
    task.accounts = [json.loads(account) for account in accounts]
    return task


@cache
def visible_task(*required: str) -> CompiledQuery:
    names = {name: parameter(name) for name in ("id", *required)}
    return CompiledQuery(lambda: Task.objects.filter(**names).with_accounts(parameter("caller_id")))
