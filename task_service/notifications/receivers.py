"""Plans notifications for changes of tasks."""

from typing import Any

from django.dispatch import receiver

from notifications import reminders, wording
from notifications.models import Event
from notifications.planning import PlannedEvent, plan_notifications
from tasks.models import Task
from tasks.signals import FieldChange, tasks_changed, tasks_deleted


@receiver(tasks_changed)
def plan_for_changes(changes: list[FieldChange], by_id: int | None, **_: Any) -> None:
    """Plan due reminders too: the next run would send a second mail a minute later."""
    tasks = {change.task.pk: change.task for change in changes}
    planned = [each for change in changes for each in events_for(change, by_id)]
    events = plan_notifications(planned + reminders.due_events(tasks.values()))
    reminders.announce(events, tasks.values())


@receiver(tasks_deleted)
def plan_for_deletions(tasks: list[Task], by_id: int | None, **_: Any) -> None:
    plan_notifications([deletion_event_for(task, by_id) for task in tasks])


def events_for(change: FieldChange, by_id: int | None) -> list[PlannedEvent]:
    task, old, new = change.task, change.old, change.new
    about = {"task_id": task.pk, "old": old, "new": new, "by_id": by_id}
    recipients = task.viewers_involved - {by_id}
    if change.field == "status":
        text = wording.status_text(change)
        return [(Event(kind=Event.Kind.STATUS_CHANGED, task_title=task.title, text=text, **about), recipients)]
    text = wording.assignment_text(change)
    planned = [(Event(kind=Event.Kind.ASSIGNED, task_title=task.title, text=text, **about), recipients)]
    if old is not None and task.account_is_active(old) and old not in {by_id, *recipients}:
        about |= {"new": None, "task_title": task.title_before, "text": wording.former_assignee_text(task)}
        planned.append((Event(kind=Event.Kind.UNASSIGNED, **about), {old}))
    return planned


def deletion_event_for(task: Task, by_id: int | None) -> PlannedEvent:
    event = Event(
        kind=Event.Kind.DELETED,
        task_id=task.pk,
        task_title=task.title,
        text=wording.deletion_text(task),
        old=task.assigned_to_id,
        by_id=by_id,
    )
    return event, task.viewers_involved - {by_id}
