from tasks.models.activity import Activity
from tasks.models.idempotency_record import IdempotencyRecord
from tasks.models.task import MAX_DESCRIPTION_LENGTH, StaleVersion, Task, TaskQuerySet, UnexpectedCount, visible_values

__all__ = [
    "MAX_DESCRIPTION_LENGTH",
    "Activity",
    "IdempotencyRecord",
    "StaleVersion",
    "Task",
    "TaskQuerySet",
    "UnexpectedCount",
    "visible_values",
]
