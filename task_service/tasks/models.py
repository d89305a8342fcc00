"""Tasks: what they are, who sees them, and the one way they change."""

from typing import Any, ClassVar, Self

from django.db import models, transaction
from django.utils import timezone

from chassis.fields import EARLIEST, LATEST
from chassis.tokens import Caller


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, caller: Caller) -> Self:
        return self if caller.is_admin else self.filter(assigned_to=caller.id)

    def open(self) -> Self:
        return self.exclude(status=Task.Status.COMPLETED)

    def overdue(self) -> Self:
        return self.open().filter(due_date__lt=timezone.localdate())


class Task(models.Model):
    class Status(models.TextChoices):
        TODO = "todo", "To Do"
        IN_PROGRESS = "in_progress", "In Progress"
        COMPLETED = "completed", "Completed"

    class Priority(models.IntegerChoices):
        """Stored by rank, so that sorting by it needs no table of names; the API speaks the labels."""

        LOW = 1, "low"
        NORMAL = 2, "normal"
        HIGH = 3, "high"
        URGENT = 4, "urgent"

    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    status = models.CharField(max_length=11, choices=Status, default=Status.TODO)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    due_date = models.DateField(null=True, blank=True)
    assigned_to = models.BigIntegerField(null=True, blank=True)  # users live in another service: no foreign key
    created_by = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    completed_at = models.DateTimeField(null=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)

    objects: ClassVar[Any] = TaskQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(title=""), name="title_is_not_empty"),
            models.CheckConstraint(
                condition=models.Q(status__in=["todo", "in_progress", "completed"]), name="status_is_known"
            ),
            models.CheckConstraint(condition=models.Q(priority__range=(1, 4)), name="priority_is_known"),
            models.CheckConstraint(
                condition=models.Q(assigned_to__isnull=True) | models.Q(assigned_to__gt=0), name="assigned_to_is_an_id"
            ),
            models.CheckConstraint(condition=models.Q(created_by__gt=0), name="created_by_is_an_id"),
            models.CheckConstraint(condition=models.Q(version__gt=0), name="version_counts_from_one"),
            models.CheckConstraint(
                condition=models.Q(due_date__isnull=True) | models.Q(due_date__range=(EARLIEST, LATEST)),
                name="due_date_is_in_this_century",
            ),
            models.CheckConstraint(
                condition=models.Q(status="completed", completed_at__isnull=False)
                | (~models.Q(status="completed") & models.Q(completed_at__isnull=True)),
                name="completed_at_goes_with_completed",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="task_newest"),
            models.Index(fields=["assigned_to", "-created_at", "-id"], name="task_newest_of_assignee"),
            models.Index(fields=["status", "-created_at", "-id"], name="task_newest_in_status"),
            models.Index(fields=["due_date", "id"], name="task_by_due_date"),
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"

    @property
    def is_overdue(self) -> bool:
        return (
            self.due_date is not None and self.due_date < timezone.localdate() and self.status != Task.Status.COMPLETED
        )

    def save(self, **kwargs: Any) -> None:
        if self._state.adding:
            self.updated_at = self.created_at
        self.complete_or_reopen()
        super().save(**kwargs)

    def change(self, **values: Any) -> None:
        """Save what differs from the row as it now is. Setting what is there already changes nothing.

        Raises Task.DoesNotExist when the row was deleted meanwhile.
        """
        with transaction.atomic():
            self.refresh_from_db(from_queryset=Task.objects.select_for_update())
            changed = [name for name, value in values.items() if getattr(self, name) != value]
            if not changed:
                return
            for name in changed:
                setattr(self, name, values[name])
            self.version += 1
            self.updated_at = timezone.now()
            self.save(update_fields=[*changed, "version", "updated_at", "completed_at"])

    def complete_or_reopen(self) -> None:
        if self.status != Task.Status.COMPLETED:
            self.completed_at = None
        elif self.completed_at is None:
            self.completed_at = self.updated_at
