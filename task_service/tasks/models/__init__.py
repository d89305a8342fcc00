from tasks.models.activity import Activity
from tasks.models.kept_answer import KeptAnswer
from tasks.models.querysets import StaleVersion, TaskQuerySet, UnexpectedCount, refuse_stale
from tasks.models.task import LONGEST_DESCRIPTION, Task

__all__ = [
    "LONGEST_DESCRIPTION",
    "Activity",
    "KeptAnswer",
    "StaleVersion",
    "Task",
    "TaskQuerySet",
    "UnexpectedCount",
    "refuse_stale",
]
