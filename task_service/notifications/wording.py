"""What people are told."""

from tasks.models import Task
from tasks.signals import Change


def of_status(change: Change) -> str:
    old, new = (Task.Status(value).label for value in (change.old, change.new))
    return f'"{change.task.title}" is {new} now; it was {old}.'


def of_assignment(change: Change) -> str:
    who = "nobody" if change.new is None else change.task.assignee_name
    return f'"{change.task.title}" is assigned to {who} now.'


def of_due_soon(task: Task) -> str:
    return f'"{task.title}" is due on {task.due_date}.'


def of_overdue(task: Task) -> str:
    return f'"{task.title}" was due on {task.due_date} and is not completed.'
