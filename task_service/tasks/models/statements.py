"""The statements that write tasks together with their history, constant for any number of tasks."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import connection

from chassis import prepared
from chassis.json_rows import as_json, attributes, new_columns, values
from tasks.models.activity import Activity

if TYPE_CHECKING:
    from tasks.models.task import Task

INSERT = """
    WITH task AS (
        INSERT INTO tasks_task ({task}) SELECT {task} FROM jsonb_populate_recordset(NULL::tasks_task, %s) RETURNING id
    ), history AS (
        INSERT INTO tasks_activity (task_id, {activity}) SELECT task.id, {activity}
        FROM task, jsonb_populate_recordset(NULL::tasks_activity, %s) WITH ORDINALITY ORDER BY ordinality
    )
    SELECT id FROM task
"""
# Changes no task that has a later version by now.
UPDATE = """
    WITH task AS (
        UPDATE tasks_task SET {changes} FROM jsonb_populate_recordset(NULL::tasks_task, %s) AS new
        WHERE tasks_task.id = ANY(%s) AND tasks_task.id = new.id AND tasks_task.version = new.version - 1
        RETURNING tasks_task.id
    ), history AS (
        INSERT INTO tasks_activity (task_id, {activity}) SELECT task_id, {activity}
        FROM jsonb_populate_recordset(NULL::tasks_activity, %s) WITH ORDINALITY
        WHERE task_id IN (SELECT id FROM task) ORDER BY ordinality
    )
    SELECT count(*) FROM task
"""


def insert(task: "Task", history: Iterable[Activity]) -> None:
    """Store a new task with its history, and set its id."""
    kind = type(task)
    statement = INSERT.format(task=new_columns(kind), activity=new_columns(Activity, but="task_id"))
    (task.pk,) = run(statement, [as_json([values(task)]), as_json(map(values, history))])
    task._state.adding, task._state.db = False, connection.alias


def update(tasks: Sequence["Task"], fields: Iterable[str], history: Iterable[Activity]) -> bool:
    """Store these fields of changed tasks with their history. Return whether none had been changed since it was read.

    The caller rolls back otherwise.
    """
    columns = changed_columns(type(tasks[0]), tuple(fields))
    rows = as_json(values(task, ("id", *columns)) for task in tasks)
    ids = [task.pk for task in tasks]
    (stored,) = run(update_statement(columns), [rows, ids, as_json(map(values, history))])
    return bool(stored == len(tasks))


@cache
def changed_columns(kind: type["Task"], fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(column for column, name in attributes(kind).items() if name in fields)


@cache
def update_statement(columns: tuple[str, ...]) -> str:
    changes = ", ".join(f"{column} = new.{column}" for column in columns)
    return UPDATE.format(changes=changes, activity=new_columns(Activity, but="task_id"))


def run(statement: str, parameters: list[Any]) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        prepared.execute(cursor, statement, parameters)
        row: tuple[Any, ...] = cursor.fetchone()
        return row
