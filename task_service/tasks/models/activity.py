"""The history of tasks: who changed what, from what to what, and when. It outlives the task.

Triggers keep what is written as it is.
"""

from django.db import models

from directory.models import User


class Activity(models.Model):
    """One fact about a task, in the transaction and of the version in which it became true."""

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
    # Null where the service itself did it. No constraint: accounts belong to the other service.
    by = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    at = models.DateTimeField()

    # See chassis.ops.roles. The version before still deletes; until it is gone, a trigger keeps the rows.
    revoked_rights = "UPDATE"

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=["created", "changed", "assigned", "unassigned", "deleted"]),
                name="activity_kind_is_known",
            ),
        ]
        indexes = [models.Index(fields=["task", "id"], name="activity_of_task")]

    def __str__(self) -> str:
        return f"{self.kind} {self.field} of task {self.task_id}"
