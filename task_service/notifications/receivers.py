"""Who is told: a line per fact."""

from typing import Any

from django.dispatch import receiver

from notifications import wording
from notifications.models import Event
from notifications.planning import Told, tell
from tasks.signals import Change, task_assigned, task_status_changed


@receiver(task_status_changed)
def tell_of_status(changes: list[Change], by_id: int | None, **_: Any) -> None:
    tell([told(Event.Kind.STATUS_CHANGED, change, wording.of_status(change), by_id) for change in changes])


@receiver(task_assigned)
def tell_of_assignment(changes: list[Change], by_id: int | None, **_: Any) -> None:
    tell([told(Event.Kind.ASSIGNED, change, wording.of_assignment(change), by_id) for change in changes])


def told(kind: str, change: Change, text: str, by_id: int | None) -> Told:
    task, old, new = change.task, change.old, change.new
    event = Event(kind=kind, task_id=task.pk, task_title=task.title, text=text, old=old, new=new, by_id=by_id)
    return event, task
