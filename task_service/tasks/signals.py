"""What is announced about tasks: facts, in the past tense, inside the transaction in which they become true.

Each tells of all that one change did, so that a change of a hundred tasks costs its listeners no more than one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

if TYPE_CHECKING:
    from tasks.models import Task


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of one task, "status" or "assigned_to": `task` is as it is now."""

    task: "Task"
    field: str
    old: Any
    new: Any


tasks_changed = Signal()  # changes: list[FieldChange], of all tasks and both fields; by_id: int | None
tasks_deleted = Signal()  # tasks: list[Task] as they were; by_id: int | None
# Once for each task and due date.
task_due_soon = Signal()  # tasks: list[Task]
task_overdue = Signal()  # tasks: list[Task]
