"""What happened, who finds it in the inbox, and by which channel it goes out to whom."""

from hashlib import blake2b
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from chassis import outbox
from chassis.tokens import Caller
from directory.models import User
from tasks.models import Task

# Why a reminder is skipped; if it comes true once more, so does the reminder.
COMPLETED, MOVED = "the task is completed", "the due date was moved"


class Event(models.Model):
    """A fact about a task, as it was when it became true. It outlives the task."""

    class Kind(models.TextChoices):
        STATUS_CHANGED = "task_status_changed"
        ASSIGNED = "task_assigned"
        DUE_SOON = "task_due_soon"
        OVERDUE = "task_overdue"

    REMINDERS = (Kind.DUE_SOON, Kind.OVERDUE)

    kind = models.CharField(max_length=19, choices=Kind)
    task_id = models.BigIntegerField()
    task_title = models.CharField(max_length=200)
    text = models.TextField()  # what people are told
    due_date = models.DateField(null=True)  # of a reminder: what it reminds of
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    by = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["task_status_changed", "task_assigned", "task_due_soon", "task_overdue"]),
                name="event_kind_is_known",
            ),
            models.CheckConstraint(
                condition=Q(due_date=None) ^ Q(kind__in=["task_due_soon", "task_overdue"]),
                name="due_date_goes_with_reminders",
            ),
            models.UniqueConstraint(
                fields=["task_id", "due_date", "kind"], condition=~Q(due_date=None), name="reminded_once"
            ),
        ]
        indexes = [models.Index(fields=["task_id", "id"], name="event_of_task")]

    def __str__(self) -> str:
        return f"{self.kind} of task {self.task_id}"

    @property
    def is_reminder(self) -> bool:
        return self.kind in self.REMINDERS


class NotificationQuerySet(models.QuerySet["Notification"]):
    def visible_to(self, caller: Caller) -> Self:
        """Keep the caller's own and, unless the caller is an admin, only those about tasks that the caller sees now."""
        own = self.filter(recipient=caller.id)
        if caller.is_admin:
            return own
        task = Task.objects.visible_to(caller).filter(pk=OuterRef("event__task_id"))
        # Inside COALESCE it is no join: PostgreSQL walks the inbox until the page is full, rather than sort all of it.
        return own.filter(Coalesce(Exists(task), False))


class Notification(models.Model):
    """An event in somebody's inbox."""

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="+", db_index=False)
    recipient = models.ForeignKey(
        User, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    read_at = models.DateTimeField(null=True)

    objects: ClassVar[Any] = NotificationQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "recipient"], name="notified_once")]
        indexes = [models.Index(fields=["recipient", "-id"], name="inbox")]

    def __str__(self) -> str:
        return f"notification {self.pk} to user {self.recipient_id}"


class DeliveryQuerySet(outbox.DeliveryQuerySet["Delivery"]):
    def plan_again(self) -> None:
        """Plan what was skipped once more, with another day to succeed."""
        now = timezone.now()
        day = outbox.GIVE_UP_AFTER
        self.update(state=Delivery.State.PLANNED, reason="", attempts=0, due_at=now, give_up_at=now + day)


class Delivery(outbox.Delivery):
    """One event by one channel: to one recipient, or to nobody in particular where the channel is not personal."""

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="+", db_index=False)
    channel = models.CharField(max_length=20)
    recipient = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    objects: ClassVar[Any] = DeliveryQuerySet.as_manager()

    class Meta(outbox.Delivery.Meta):
        constraints = [
            *outbox.Delivery.Meta.constraints,
            models.UniqueConstraint(
                fields=["event", "channel", "recipient"], nulls_distinct=False, name="delivered_once"
            ),
        ]


class ReminderRun(models.Model):
    """When the tasks that are due were last looked for. There is one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    finished_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="there_is_one_reminder_run")]

    def __str__(self) -> str:
        return f"reminders looked for at {self.finished_at}"


def order_of(task_id: int, recipient_id: int | None) -> int:
    """Return the ordering key of what one recipient hears of one task; another's broken mailbox delays none of it."""
    digest = blake2b(f"{task_id} {recipient_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
