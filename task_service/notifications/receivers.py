"""Who is told: a line per fact."""

from typing import Any

from django.dispatch import receiver

from notifications import reminders, wording
from notifications.models import Event
from notifications.planning import Planned, plan
from tasks.models import Task
from tasks.signals import Change, tasks_changed, tasks_deleted


@receiver(tasks_changed)
def plan_for_changes(changes: list[Change], by_id: int | None, **_: Any) -> None:
    """Reminders that are due come along: otherwise the next scan would send a second mail a minute later."""
    tasks = {change.task.pk: change.task for change in changes}
    planned = [each for change in changes for each in planned_for(change, by_id)]
    events = plan(planned + reminders.due_for(tasks.values()))
    reminders.announce(events, tasks.values())


@receiver(tasks_deleted)
def plan_for_deletions(tasks: list[Task], by_id: int | None, **_: Any) -> None:
    plan([planned_for_deletion(task, by_id) for task in tasks])


def planned_for(change: Change, by_id: int | None) -> list[Planned]:
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


def planned_for_deletion(task: Task, by_id: int | None) -> Planned:
    event = Event(
        kind=Event.Kind.DELETED,
        task_id=task.pk,
        task_title=task.title,
        text=wording.deletion_text(task),
        old=task.assigned_to_id,
        by_id=by_id,
    )
    return event, task.viewers_involved - {by_id}
