from tasks.models.activity import Activity
from tasks.models.idempotency_record import IdempotencyRecord
from tasks.models.querysets import StaleVersion, TaskQuerySet, UnexpectedCount, check_version
from tasks.models.task import MAX_DESCRIPTION_LENGTH, Task

__all__ = [
    "MAX_DESCRIPTION_LENGTH",
    "Activity",
    "IdempotencyRecord",
    "StaleVersion",
    "Task",
    "TaskQuerySet",
    "UnexpectedCount",
    "check_version",
]
