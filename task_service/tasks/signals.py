"""Signals about tasks, sent inside the transaction of the change.

One signal covers all tasks of a change, so that receivers need no more statements for a hundred tasks than for one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

if TYPE_CHECKING:
    from tasks.models import Task


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A change of one field of one task, "status" or "assigned_to"; `task` has the new values."""

    task: "Task"
    field: str
    old: Any
    new: Any


tasks_changed = Signal()  # changes: list[FieldChange], of all tasks and both fields; by_id: int | None
tasks_deleted = Signal()  # tasks: list[Task] before the deletion; by_id: int | None
# Once for each task and due date.
task_due_soon = Signal()  # tasks: list[Task]
task_overdue = Signal()  # tasks: list[Task]
