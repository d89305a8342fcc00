"""The history of tasks: actor, change and time of each entry. It outlives the task.

Triggers make the entries immutable.
"""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from django.db import models

from directory.models import User

if TYPE_CHECKING:
    from tasks.models.task import Task

WRITABLE = ("title", "description", "status", "priority", "due_date", "assigned_to_id")


class CurrentTransactionId(models.Func):
    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()


class Activity(models.Model):
    """One change of a task, written in its transaction, with the version after it."""

    class Kind(models.TextChoices):
        CREATED = "created"
        CHANGED = "changed"
        ASSIGNED = "assigned"
        UNASSIGNED = "unassigned"
        DELETED = "deleted"  # `old` holds the last values

    # No constraint: the task may be deleted.
    task = models.ForeignKey(
        "tasks.Task", on_delete=models.DO_NOTHING, db_constraint=False, related_name="activity", db_index=False
    )
    version = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=Kind)
    field = models.CharField(max_length=20, blank=True)
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    reason = models.CharField(max_length=100, blank=True)
    # Null if the service itself made the change. No constraint: accounts belong to the other service.
    by = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    at = models.DateTimeField()
    # Of the transaction that wrote it; null in entries of earlier versions. See tasks.stamps.
    transaction_id = models.BigIntegerField(null=True, editable=False, db_default=CurrentTransactionId())

    # See chassis.ops.roles. The previous version still deletes rows; a trigger prevents it.
    revoked_rights = "UPDATE"

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=["created", "changed", "assigned", "unassigned", "deleted"]),
                name="activity_kind_is_known",
            ),
        ]
        indexes = [
            models.Index(fields=["task", "id"], name="activity_of_task"),
            models.Index(
                fields=["transaction_id"],
                condition=models.Q(transaction_id__isnull=False),
                name="activity_by_transaction",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.field} of task {self.task_id}"


def creation_history(task: "Task") -> Iterator[Activity]:
    common = {"version": task.version, "by_id": task.created_by, "at": task.created_at}
    yield Activity(task=task, kind=Activity.Kind.CREATED, **common)
    if task.assigned_to_id is not None:
        yield entry(task, "assigned_to_id", None, task.assigned_to_id, **common)


def diff(task: "Task", values: dict[str, Any], **common: Any) -> list[Activity]:
    """Return a history entry for each field that these values would change."""
    return [
        entry(task, name, getattr(task, name), new, version=task.version + 1, **common)
        for name, new in values.items()
        if new != getattr(task, name)
    ]


def deletion_entry(task: "Task", **common: Any) -> Activity:
    values = {name.removesuffix("_id"): to_json(task, name, getattr(task, name)) for name in WRITABLE}
    return Activity(task_id=task.pk, version=task.version + 1, kind=Activity.Kind.DELETED, old=values, **common)


def entry(task: "Task", name: str, old: Any, new: Any, **common: Any) -> Activity:
    kind = Activity.Kind.CHANGED
    if name == "assigned_to_id":
        kind = Activity.Kind.UNASSIGNED if new is None else Activity.Kind.ASSIGNED
    old, new = to_json(task, name, old), to_json(task, name, new)
    return Activity(task=task, kind=kind, field=name.removesuffix("_id"), old=old, new=new, **common)


def to_json(task: "Task", name: str, value: Any) -> Any:
    """Return a value of a task as JSON: dates as YYYY-MM-DD, the priority by its label."""
    if isinstance(value, date):
        return value.isoformat()
    return task.Priority(value).label if name == "priority" else value
