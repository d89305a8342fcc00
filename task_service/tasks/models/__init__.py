from tasks.models.activity import Activity
from tasks.models.kept_answer import KeptAnswer
from tasks.models.querysets import StaleVersion, TaskQuerySet, UnexpectedCount, refuse_stale
from tasks.models.task import MAX_DESCRIPTION_LENGTH, Task

__all__ = [
    "MAX_DESCRIPTION_LENGTH",
    "Activity",
    "KeptAnswer",
    "StaleVersion",
    "Task",
    "TaskQuerySet",
    "UnexpectedCount",
    "refuse_stale",
]
