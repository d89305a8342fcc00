"""What is announced about tasks: facts, in the past tense, inside the transaction in which they become true.

Each tells of all that one change did, so that a change of a hundred tasks costs its listeners no more than one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

if TYPE_CHECKING:
    from tasks.models import Task


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one task: `task` is as it is now."""

    task: "Task"
    old: Any
    new: Any


task_status_changed = Signal()  # changes: list[Change] of status values, by_id: int | None
task_assigned = Signal()  # changes: list[Change] of user ids or None, by_id: int | None
# Once for each task and due date.
task_due_soon = Signal()  # tasks: list[Task]
task_overdue = Signal()  # tasks: list[Task]
