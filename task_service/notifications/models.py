"""Events, inbox entries, and deliveries by channel and recipient."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from hashlib import blake2b
from typing import Any, ClassVar, Self
from uuid import uuid4

from django.db import models
from django.db.models import Case, Exists, F, Min, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, parameter
from chassis.worker import outbox
from directory.models import User
from tasks.models import Task

# Reasons to skip a reminder. It is requeued if it becomes due again.
TASK_COMPLETED, DUE_DATE_MOVED = "the task is completed", "the due date was moved"


class Event(models.Model):
    """A fact about a task at the time of the event. It outlives the task."""

    class Kind(models.TextChoices):
        STATUS_CHANGED = "task_status_changed"
        ASSIGNED = "task_assigned"
        UNASSIGNED = "task_unassigned"  # for the former assignee only
        DELETED = "task_deleted"  # `old` is the assignee
        DUE_SOON = "task_due_soon"
        OVERDUE = "task_overdue"

    REMINDERS = (Kind.DUE_SOON, Kind.OVERDUE)
    LOSSES = (Kind.UNASSIGNED, Kind.DELETED)  # the account in `old` loses the task

    kind = models.CharField(max_length=19, choices=Kind)
    task_id = models.BigIntegerField()
    task_title = models.CharField(max_length=200)
    text = models.TextField()  # the sentence that recipients read
    due_date = models.DateField(null=True)  # of reminders only
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    by = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=[
                        "task_status_changed",
                        "task_assigned",
                        "task_unassigned",
                        "task_deleted",
                        "task_due_soon",
                        "task_overdue",
                    ]
                ),
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

    def check_recipient(self, person: User | None, task: Task | None) -> None:
        """Raise Skipped if this person may not be notified; keep it consistent with NotificationQuerySet.visible_to.

        `task` is None if it was deleted. A person who loses a task is notified although they can no longer see it.
        """
        if person is None or not person.is_active:
            raise outbox.Skipped("the account is no longer active")
        if self.kind in self.LOSSES and self.old == person.pk:
            return
        if task is None:
            if self.kind == self.Kind.DELETED and person.is_admin:
                return
            raise outbox.Skipped("the task was deleted")
        if person.pk not in (task.assigned_to_id, task.created_by):
            raise outbox.Skipped("the task was reassigned")
        if not task.is_visible_to(person):
            raise outbox.Skipped("the account can no longer see the task")


def row_exists(rows: models.QuerySet[Any]) -> Coalesce:
    """Return whether there is such a row, with one index lookup per entry of a page.

    With EXISTS, PostgreSQL joins and sorts the whole inbox, or hashes the other table, instead of stopping at a full
    page.
    """
    return Coalesce(Subquery(rows.values(found=Value(True))[:1]), False)


class NotificationQuerySet(models.QuerySet["Notification"]):
    def visible_to(self, caller: Caller) -> Self:
        """Keep the caller's entries and annotate `is_gone`: the caller can no longer see the task of the entry.

        An admin keeps all of them. Other callers keep, for a task that is gone, only the entry that says so, but all
        entries if the task was theirs until it was deleted.
        """
        task = Task.objects.visible_to(caller).filter(pk=OuterRef("event__task_id"))
        own = self.filter(recipient=caller.id).annotate(is_gone=~row_exists(task))
        if caller.is_admin:
            return own
        same_task = Event.objects.filter(task_id=OuterRef("event__task_id"))
        was_theirs = row_exists(same_task.filter(kind=Event.Kind.DELETED, old=caller.id))
        lost = Q(event__kind=Event.Kind.UNASSIGNED, event__old=caller.id)
        return own.filter(Q(is_gone=False) | lost | Q(was_theirs))


class Notification(models.Model):
    """An event in the inbox of a recipient."""

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="+", db_index=False)
    recipient = models.ForeignKey(
        User, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    read_at = models.DateTimeField(null=True)
    is_gone: bool  # of NotificationQuerySet.visible_to()

    objects: ClassVar[Any] = NotificationQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "recipient"], name="notified_once")]
        indexes = [models.Index(fields=["recipient", "-id"], name="inbox")]

    def __str__(self) -> str:
        return f"notification {self.pk} to user {self.recipient_id}"


EVENT = CompiledQuery(lambda: Event.objects.filter(pk=parameter("id")))


class DeliveryQuerySet(outbox.DeliveryQuerySet["Delivery"]):
    def requeue(self) -> None:
        """Make skipped deliveries pending again, each with another day to succeed, as parts of a new message."""
        now = timezone.now()
        pending = {"state": Delivery.State.PENDING, "due_at": now, "give_up_at": now + outbox.DEAD_LETTER_AFTER}
        personal = Case(When(recipient=None, then=None), default=Value(uuid4()), output_field=models.UUIDField())
        self.update(reason="", attempts=0, digest=personal, **pending)

    def due(self, now: datetime) -> Self:
        """Choose due deliveries; the first part of a message represents the whole message."""
        pending = self.filter(state=Delivery.State.PENDING)
        return super().due(now).filter(~Exists(pending.same_message(OuterRef).filter(pk__lt=OuterRef("pk"))))

    def with_message_id(self) -> Self:
        """Annotate `message_id`, the id of the first part, which all parts of a message share."""
        first = Delivery.objects.same_message(OuterRef).order_by("pk").values("pk")[:1]
        return self.annotate(message_id=Coalesce(Subquery(first), F("pk")))

    def same_message(self, value_of: Callable[[str], Any]) -> Self:
        return self.filter(**{name: value_of(name) for name in ("digest", "channel", "recipient_id")})


class Delivery(outbox.Delivery):
    """One event over one channel to one recipient; without a recipient if the channel is not personal."""

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="+", db_index=False)
    channel = models.CharField(max_length=20)
    recipient = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    # Deliveries planned together share a digest: each recipient gets one message. Null: a separate message.
    digest = models.UUIDField(null=True)
    message_id: int  # of DeliveryQuerySet.with_message_id()

    objects: ClassVar[Any] = DeliveryQuerySet.as_manager()

    class Meta(outbox.Delivery.Meta):
        constraints = [
            *outbox.Delivery.Meta.constraints,
            models.UniqueConstraint(
                fields=["event", "channel", "recipient"], nulls_distinct=False, name="delivered_once"
            ),
        ]
        indexes = [
            *outbox.Delivery.Meta.indexes,
            models.Index(fields=["digest", "recipient"], condition=~Q(digest=None), name="delivery_digest"),
        ]

    @property
    def other_parts(self) -> DeliveryQuerySet:
        """The other deliveries of the same message."""
        same: DeliveryQuerySet = Delivery.objects.same_message(partial(getattr, self)).exclude(pk=self.pk)
        return same if self.digest else same.none()

    def claim_parts(self) -> list["Delivery"]:
        """Lease the other parts of the message and return all parts, this one first.

        A part that has to wait for an earlier message about its task becomes a separate message, so that this one has
        the same content if it is sent again after a crash.
        """
        if self.digest is None:
            (self.event,) = Event.objects.raw(*EVENT.bind(id=self.event_id))
            return [self]
        pending = self.other_parts.filter(state=self.State.PENDING)
        earlier = Delivery.objects.filter(
            channel=self.channel,
            state=self.State.PENDING,
            ordering_key=OuterRef("ordering_key"),
            pk__lt=OuterRef("pk"),
        ).exclude(digest=self.digest)
        pending.filter(Exists(earlier)).update(digest=uuid4())
        free = Q(leased_until=None) | Q(leased_until__lte=timezone.now())
        lease = {"lease_token": self.lease_token, "leased_until": self.leased_until}
        pending.filter(free).update(attempts=F("attempts") + 1, **lease)
        return [self, *self.other_parts.filter(lease_token=self.lease_token).select_related("event").order_by("pk")]

    def skip_parts(self, parts: Iterable[tuple["Delivery", str]]) -> None:
        """Mark parts, each with a reason, as skipped, before the message is sent without them."""
        for part, reason in parts:
            held = self._message().filter(pk=part.pk)
            held.update(state=self.State.SKIPPED, reason=reason, lease_token=None, leased_until=None)

    def find_message_id(self) -> int:
        """Return the id of the message: that of its first part, in any state."""
        if self.digest is None:
            return self.pk
        first: int | None = self.other_parts.aggregate(first=Min("pk"))["first"]
        return min(self.pk, first or self.pk)

    def _message(self) -> outbox.DeliveryQuerySet[Any]:
        parts = Delivery.objects.same_message(partial(getattr, self)) if self.digest else super()._message()
        return parts.filter(lease_token=self.lease_token)


class ReminderRun(models.Model):
    """The time of the last reminder run, in a single row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    finished_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="there_is_one_reminder_run")]

    def __str__(self) -> str:
        return f"reminder run at {self.finished_at}"


def ordering_key(task_id: int, recipient_id: int | None) -> int:
    """Return the ordering key of one task's messages to one recipient: only they wait for each other."""
    digest = blake2b(f"{task_id} {recipient_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
