"""What the document tells of tasks and their history, beside what it derives."""

from typing import Any

from rest_framework.serializers import DictField

from chassis.ids import MAX_ID
from chassis.openapi import parameters
from chassis.openapi.operations import Answer, Body, Call, Chapter, Kind, Operation, Shape
from chassis.openapi.schemas import ID, INSTANT, Definitions, nullable, optional, person, schema_of, schema_of_input
from tasks import bulk, export, views
from tasks.bulk import BulkSerializer
from tasks.filters import ExportFilter, TaskFilter
from tasks.models import Activity, Task
from tasks.serializers import TaskSerializer
from tasks.serializers.fields import MAX_USERNAME_LENGTH, AssigneeField, AssigneeIdField
from tasks.summary import MAX_COUNT, MORE

TASKS, HISTORY = "Tasks", "History"
TASK = {
    "id": 1,
    "title": "Call the landlord",
    "description": "",
    "status": "todo",
    "status_label": "To Do",
    "priority": "normal",
    "due_date": "2030-12-01",
    "is_overdue": False,
    "assigned_to": 2,
    "assignee": {"id": 2, "username": "alice"},
    "created_by": 1,
    "created_at": "2026-11-23T09:00:00.000000Z",
    "updated_at": "2026-11-23T09:00:00.000000Z",
    "completed_at": None,
    "version": 1,
}
DONE = {
    "status": "completed",
    "status_label": "Completed",
    "updated_at": "2026-11-23T10:00:00.000000Z",
    "completed_at": "2026-11-23T10:00:00.000000Z",
    "version": 2,
}
ACTIVITY = Shape(
    "Activity",
    {
        "id": ID,
        "version": {"type": "integer", "description": "The version of the task in which it became true."},
        "kind": {"type": "string", "enum": Activity.Kind.values},
        "field": nullable({"type": "string", "description": "What was changed; null for creation and deletion."}),
        "from": nullable(
            {
                "description": "The value before, of whatever type the field is. For a deletion, an object with the "
                "last values of all fields that can be set."
            }
        ),
        "to": nullable({"description": "The value since."}),
        "reason": nullable({"type": "string", "description": "Why, where the service did it itself."}),
        "by": person("Who did it; null where the service did it itself, or the account is not known here."),
        "at": INSTANT,
    },
)
COUNT = {"description": f'A whole number, or the text "{MORE}" for more than {MAX_COUNT}.'}
SUMMARY = Shape(
    "Summary",
    {
        "total": COUNT,
        "by_status": {
            "type": "object",
            "required": Task.Status.values,
            "properties": dict.fromkeys(Task.Status.values, COUNT),
        },
        "overdue": COUNT,
        "due_soon": COUNT,
        "unassigned": COUNT,
    },
)
BULK = Shape(
    "Changed",
    {
        "updated": optional(
            {"type": "array", "items": {"$ref": "#/definitions/Task"}, "description": "Changed by `ids`."}
        ),
        "updated_ids": optional({"type": "array", "items": ID, "description": "Changed by a `filter`."}),
        "deleted_ids": optional({"type": "array", "items": ID, "description": "Deleted."}),
    },
)
ACTUAL_COUNT = {**COUNT, "description": f'How many tasks match the filter; "{MORE}" for more than {MAX_COUNT}.'}
COUNT_PROBLEM = Shape("CountProblem", {"actual_count": optional(ACTUAL_COUNT)})


@schema_of.register(AssigneeField)
def _(field: AssigneeField) -> dict[str, Any]:
    return person("Who that is; null for nobody, and for one whom the directory does not know.")


# Swagger 2.0 has no word for either of two types: `type` may not be a list, and there is no oneOf.
INTEGER_OR_STRING = {"minimum": 1, "maximum": MAX_ID, "x-types": ["integer", "string"]}


@schema_of_input.register(AssigneeIdField)
def _(field: AssigneeIdField) -> dict[str, Any]:
    return {**INTEGER_OR_STRING, "maxLength": MAX_USERNAME_LENGTH}


@schema_of.register(bulk.CountField)
def _(field: bulk.CountField) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": bulk.MAX_MATCHING}


@schema_of.register(bulk.TrueField)
def _(field: bulk.TrueField) -> dict[str, Any]:
    return {"type": "boolean", "enum": [True]}


@schema_of.register(bulk.FilterField)
def _(field: bulk.FilterField) -> dict[str, Any]:
    """Describe the list's filters as members of an object."""
    properties = {name: dict(parameters.schema_of(each)) for name, each in TaskFilter.base_filters.items()}
    for schema in properties.values():
        schema.pop("description", None)
        if schema["type"] == "string":
            schema["minLength"] = 1
        if schema.pop("collectionFormat", None) and "pattern" in schema["items"]:
            schema["items"] = {name: schema["items"][name] for name in ("pattern",)} | INTEGER_OR_STRING
    return {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}


@schema_of.register(DictField)
def _(field: DictField) -> dict[str, Any]:
    """Describe the `set` of a bulk change, which is the only one."""
    values = Definitions({}, {}).object_of(TaskSerializer(), Kind.PATCH)
    writable = {name: schema for name, schema in values["properties"].items() if "readOnly" not in schema}
    return {**values, "properties": writable, "minProperties": 1}


SEES = "An admin sees all tasks, anyone else those that are assigned to them."
ASSIGNEE_UNKNOWN = "The database, or who knows the assignee, cannot be reached at the moment."
TASK_OPERATIONS: dict[Call, Operation] = {
    (views.TaskList, "get"): Operation(
        id="listTasks",
        tag=TASKS,
        summary="List tasks",
        description=SEES,
        answer=Answer(
            TaskSerializer, {"next": None, "previous": None, "results": [TASK]}, description="A page of tasks."
        ),
    ),
    (views.TaskList, "post"): Operation(
        id="createTask",
        tag=TASKS,
        summary="Make a task",
        body=Body(TaskSerializer, {"title": "Call the landlord", "due_date": "2030-12-01", "assigned_to": 2}),
        answer=Answer(TaskSerializer, TASK, status=201, description="The new task.", headers=("Location", "ETag")),
        refusals={503: ASSIGNEE_UNKNOWN},
    ),
    (views.TaskSummary, "get"): Operation(
        id="summarizeTasks",
        tag=TASKS,
        summary="Count tasks",
        description=f"{SEES} Of those, the ones that the filters let through.",
        answer=Answer(
            SUMMARY,
            {
                "total": 3,
                "by_status": {"todo": 1, "in_progress": 0, "completed": 2},
                "overdue": 0,
                "due_soon": 1,
                "unassigned": 0,
            },
            description="The counts.",
        ),
    ),
    (views.TaskExport, "get"): Operation(
        id="exportTasks",
        tag=TASKS,
        summary="Export tasks as CSV",
        description=f"{SEES} All that the filters let through, in one file that is safe to open in a spreadsheet: "
        "docs/export.md says which cells get an apostrophe, and how to undo it.",
        answer=Answer(
            example=",".join(export.COLUMNS) + "\r\n",
            description="The file, with a line of headings (RFC 4180).",
            headers=("Content-Disposition",),
            media_type="text/csv",
        ),
    ),
    (views.BulkChange, "post"): Operation(
        id="changeTasks",
        tag=TASKS,
        summary="Change or delete many tasks at once",
        description="All tasks of `ids` get the values of `set` or are deleted (`delete`), or none. Instead of `ids`, "
        f"a `filter` may name up to {bulk.MAX_MATCHING} tasks to change, if there are `expected_count` of them. "
        "Without that number nothing is changed, and `actual_count` tells it.",
        body=Body(BulkSerializer, {"ids": [1], "set": {"status": "completed"}}),
        answer=Answer(
            BULK,
            {"updated": [TASK | DONE]},
            description="With `ids`, the tasks as they are now, in that order; with `filter` or `delete`, their ids.",
        ),
        refusals={
            409: "Not as many tasks as expected match the filter; `actual_count` says how many do.",
            503: ASSIGNEE_UNKNOWN,
        },
        problems={400: COUNT_PROBLEM, 409: COUNT_PROBLEM},
    ),
    (views.TaskDetail, "get"): Operation(
        id="readTask",
        tag=TASKS,
        summary="Read a task",
        description=SEES,
        answer=Answer(TaskSerializer, TASK, description="The task."),
    ),
    (views.TaskDetail, "put"): Operation(
        id="replaceTask",
        tag=TASKS,
        summary="Replace a task",
        description="Fields that are not sent get their defaults.",
        body=Body(TaskSerializer, {"title": "Call the landlord", "status": "completed"}, Kind.PUT),
        answer=Answer(TaskSerializer, TASK | DONE, description="The task as it is now."),
        refusals={503: ASSIGNEE_UNKNOWN},
    ),
    (views.TaskDetail, "patch"): Operation(
        id="changeTask",
        tag=TASKS,
        summary="Change a task",
        description="Fields that are not sent stay as they are. Where ASSIGNEES_CAN_UPDATE_STATUS is set, an assignee "
        "may change the `status`, and that alone.",
        body=Body(TaskSerializer, {"status": "completed"}, Kind.PATCH),
        answer=Answer(TaskSerializer, TASK | DONE, description="The task as it is now."),
        refusals={503: ASSIGNEE_UNKNOWN},
    ),
    (views.TaskDetail, "delete"): Operation(
        id="deleteTask",
        tag=TASKS,
        summary="Delete a task",
        answer=Answer(status=204, description="It is deleted. Its history stays, for admins."),
    ),
    (views.TaskActivity, "get"): Operation(
        id="listActivity",
        tag=HISTORY,
        summary="Read the history of a task",
        description="For whoever sees the task; the history of a deleted task is for admins.",
        answer=Answer(
            ACTIVITY,
            {
                "next": None,
                "previous": None,
                "results": [
                    {
                        "id": 3,
                        "version": 2,
                        "kind": "changed",
                        "field": "status",
                        "from": "todo",
                        "to": "completed",
                        "reason": None,
                        "by": {"id": 1, "username": "admin"},
                        "at": "2026-11-23T10:00:00.000000Z",
                    }
                ],
            },
            description="A page of what was changed, newest first.",
        ),
    ),
}
CHAPTER = Chapter(
    tags={TASKS: "What is to be done, by whom and until when.", HISTORY: "What was changed, by whom and when."},
    operations=TASK_OPERATIONS,
    notes={
        TaskSerializer: {
            "status": 'Sent, it may also be the label, in any case: "To Do", "In Progress", "Completed".',
            "due_date": "YYYY-MM-DD, from 2000 to 2100.",
            "is_overdue": "Whether the due date has passed and the task is not completed.",
            "assigned_to": "The id of an active account (integer), or null for nobody. Sent, it may also be the "
            "username (string, in any case).",
            "completed_at": "Since when it is completed.",
            "version": "Counts the changes.",
        },
        BulkSerializer: {
            "ids": "Which tasks.",
            "filter": "Which tasks, instead of `ids`: the filters of the list. `search` and days are strings, "
            "`overdue` and `due_soon` booleans, all others lists.",
            "expected_count": "How many tasks the filter matches.",
            "set": "What they all get, as in the body of a PATCH.",
            "delete": "That the tasks of `ids` are deleted.",
        },
        TaskFilter: {
            "status": "Tasks in one of these states.",
            "priority": "Tasks of one of these priorities.",
            "due_date": "Tasks that are due on this day, or `none` for those without a due date.",
            "due_date_after": "Tasks that are due on this day or later.",
            "due_date_before": "Tasks that are due on this day or earlier.",
            "completed_after": "Tasks that were completed on this day of TIME_ZONE or later.",
            "completed_before": "Tasks that were completed on this day of TIME_ZONE or earlier.",
            "overdue": "Those that are overdue, or those that are not.",
            "due_soon": "Those that are due soon (within DUE_SOON_DAYS) and not completed, or all others.",
            "assigned_to": "Tasks of one of these: ids or usernames of accounts, `me`, or `none` for tasks of nobody.",
            "created_by": "Tasks that one of these made: ids or usernames of accounts, or `me`.",
            "search": "Words of title and description, by their beginning, without regard to case and accents; "
            '`"a phrase"`, `or`, `-not`. Without `ordering` the best come first.',
        },
        ExportFilter: {
            "bom": "Whether the file begins with a byte order mark, by which spreadsheets know that it is UTF-8.",
            "separator": "What stands between cells; `comma` by default.",
        },
    },
)
