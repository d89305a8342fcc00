"""The sentences of notifications: actor, change, and the task at the end."""

from chassis.printable import isolate, one_line
from tasks.models import Task
from tasks.signals import FieldChange


def actor(task: Task) -> str:
    return one_line(task.actor_name) if task.actor_name else "The system"


def status_text(change: FieldChange) -> str:
    task = change.task
    if change.new == Task.Status.COMPLETED:
        return f"{actor(task)} completed {isolate(task.title)}"
    old, new = (Task.Status(value).label for value in (change.old, change.new))
    return f"{actor(task)} changed the status from {old} to {new}: {isolate(task.title)}"


def assignment_text(change: FieldChange) -> str:
    task = change.task
    if change.new is None:
        return f"{actor(task)} unassigned {isolate(task.title)}"
    return f"{actor(task)} assigned {one_line(task.assignee_name or 'somebody')} to {isolate(task.title)}"


def former_assignee_text(task: Task) -> str:
    """Do not reveal the new assignee, nor a title that came with the same change."""
    return f"{actor(task)} unassigned you from {isolate(task.title_before)}"


def deletion_text(task: Task) -> str:
    return f"{actor(task)} deleted {isolate(task.title)}"


def due_soon_text(task: Task) -> str:
    return f"Due on {task.due_date}: {isolate(task.title)}"


def overdue_text(task: Task) -> str:
    return f"Overdue since {task.due_date}: {isolate(task.title)}"
