"""Who is told: a line per fact."""

from typing import Any

from django.dispatch import receiver

from notifications import wording
from notifications.models import Event
from notifications.planning import Told, tell
from tasks.models import Task
from tasks.signals import Change, task_assigned, task_due_soon, task_overdue, task_status_changed


@receiver(task_status_changed)
def tell_of_status(changes: list[Change], by_id: int | None, **_: Any) -> None:
    tell([told(Event.Kind.STATUS_CHANGED, change, wording.of_status(change), by_id) for change in changes])


@receiver(task_assigned)
def tell_of_assignment(changes: list[Change], by_id: int | None, **_: Any) -> None:
    tell([told(Event.Kind.ASSIGNED, change, wording.of_assignment(change), by_id) for change in changes])


@receiver(task_due_soon)
def tell_of_due_soon(tasks: list[Task], **_: Any) -> None:
    tell([reminded(Event.Kind.DUE_SOON, task, wording.of_due_soon(task)) for task in tasks])


@receiver(task_overdue)
def tell_of_overdue(tasks: list[Task], **_: Any) -> None:
    tell([reminded(Event.Kind.OVERDUE, task, wording.of_overdue(task)) for task in tasks])


def reminded(kind: str, task: Task, text: str) -> Told:
    return Event(kind=kind, task_id=task.pk, task_title=task.title, text=text, due_date=task.due_date), task


def told(kind: str, change: Change, text: str, by_id: int | None) -> Told:
    task, old, new = change.task, change.old, change.new
    event = Event(kind=kind, task_id=task.pk, task_title=task.title, text=text, old=old, new=new, by_id=by_id)
    return event, task
