"""The transactional outbox: a message is written in the transaction of its event and sent afterwards, at least once.

A worker claims a message under a lease, sends it and marks it. If the worker dies before it marks the message, the
lease expires and the message is sent again under the same id.
"""

import logging
import random
import smtplib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar
from uuid import uuid4

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.encoding import force_str

from chassis.compiled_query import CompiledQuery, parameter
from chassis.printable import one_line, shorten

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 5, 60 * 60
DEAD_LETTER_AFTER = timedelta(hours=24)
MAX_ATTEMPTS = 100  # twice as many as fit into a day of pauses: more means that the message kills its workers
MAX_REASON_LENGTH = 500
# The WITH chooses the rows: PostgreSQL may evaluate an IN twice, and would then exceed the limit.
CLAIM = """
    WITH chosen AS ({queryset}), claimed AS (
        UPDATE "{table}" AS delivery SET lease_token = %s, leased_until = %s, attempts = attempts + 1
        FROM chosen WHERE delivery.id = chosen.id RETURNING delivery.*
    )
    SELECT * FROM claimed ORDER BY id
"""
# The mail server rejects the client, not the message: an operator can fix that within the day.
CLIENT_REJECTIONS = (smtplib.SMTPConnectError, smtplib.SMTPHeloError, smtplib.SMTPAuthenticationError)

log = logging.getLogger(__name__)


class Skipped(Exception):
    """The message is no longer relevant; the text says why."""


class PermanentFailure(Exception):
    """The message can never be sent; the text says why."""


class TemporaryFailure(Exception):
    """The message could not be sent this time; the text says why."""


Row = TypeVar("Row", bound="Delivery")


class ClaimQuery(CompiledQuery):
    def __init__(self, chosen: models.QuerySet[Any]) -> None:
        super().__init__(lambda: chosen)
        self.template = CLAIM.replace("{table}", chosen.model._meta.db_table)


class DeliveryQuerySet(models.QuerySet[Row]):
    def due(self, now: Any) -> Self:
        """Choose messages that may be claimed: of each ordering key, the first pending one in this queryset."""
        pending = self.filter(state=Delivery.State.PENDING)
        earlier = pending.filter(ordering_key=OuterRef("ordering_key"), pk__lt=OuterRef("pk"))
        free = Q(leased_until=None) | Q(leased_until__lte=now)
        return pending.filter(free, ~Exists(earlier), due_at__lte=now)

    def claim(self, limit: int, lease_seconds: float) -> list[Row]:
        """Lease up to `limit` due messages, the longest overdue first, and return them in the order of their ids.

        Concurrent workers get different messages. Not inside a transaction: other workers would not see the lease.
        """
        now = timezone.now()
        lease = {"token": uuid4(), "until": now + timedelta(seconds=lease_seconds)}
        with transaction.atomic(durable=True):
            return list(self.raw(*self.claim_query(limit).bind(*lease.values(), now=now)))

    def claim_query(self, limit: int) -> CompiledQuery:
        """Return the query, compiled once for this object."""
        if limit not in self.claim_queries:
            due = self.due(parameter("now")).order_by("due_at", "pk").only("pk")
            chosen = due.select_for_update(skip_locked=True, of=("self",))[:limit]
            self.claim_queries[limit] = ClaimQuery(chosen)
        return self.claim_queries[limit]

    @cached_property
    def claim_queries(self) -> dict[int, CompiledQuery]:
        return {}

    def replay(self) -> int:
        """Requeue dead-lettered messages, each with another day to succeed, and return their number."""
        now = timezone.now()
        return self.filter(state=Delivery.State.FAILED).update(
            state=Delivery.State.PENDING, attempts=0, due_at=now, give_up_at=now + DEAD_LETTER_AFTER
        )

    def oldest_pending_age_seconds(self) -> float:
        """Return the age of the oldest pending message; 0 if there is none."""
        oldest = self.filter(state=Delivery.State.PENDING).aggregate(oldest=models.Min("planned_at"))["oldest"]
        return (timezone.now() - oldest).total_seconds() if oldest else 0.0


def in_a_day() -> datetime:
    return timezone.now() + DEAD_LETTER_AFTER


def check(name: str, condition: Q) -> models.CheckConstraint:
    return models.CheckConstraint(condition=condition, name=f"%(class)s_{name}")


class Delivery(models.Model):
    """One message to one recipient over one channel, written in the transaction of its event.

    A concrete model adds content and recipient. If it defines a Meta, that extends Delivery.Meta.
    """

    class State(models.TextChoices):
        PENDING = "planned", "Planned"
        SENT = "sent"
        SKIPPED = "skipped"
        FAILED = "failed"

    id = models.BigAutoField(primary_key=True)
    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    # Why it was skipped or failed; for a pending one, why the last attempt failed.
    reason = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    # Messages with the same key, such as those about one task, are sent one after the other.
    ordering_key = models.BigIntegerField(null=True, blank=True)
    planned_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    give_up_at = models.DateTimeField(default=in_a_day)
    # A fencing token, new with every claim: a worker with an older one can no longer mark the message.
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[Any] = DeliveryQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints = [
            check("state_is_known", Q(state__in=["planned", "sent", "skipped", "failed"])),
            check("sent_at_goes_with_sent", Q(sent_at=None) ^ Q(state="sent")),
            check("lease_is_whole", ~(Q(lease_token=None) ^ Q(leased_until=None))),
            check("lease_is_of_a_planned_one", Q(lease_token=None) | Q(state="planned")),
            check("reason_is_given", ~Q(state__in=["skipped", "failed"], reason="")),
        ]
        indexes = [
            models.Index(fields=["due_at", "id"], condition=Q(state="planned"), name="%(class)s_due"),
            models.Index(fields=["ordering_key", "id"], condition=Q(state="planned"), name="%(class)s_order"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    def mark_sent(self) -> bool:
        return self._end_lease(state=self.State.SENT, sent_at=timezone.now(), reason="")

    def mark_skipped(self, reason: str) -> bool:
        return self._end_lease(state=self.State.SKIPPED, reason=stored_reason(reason))

    def mark_failed(self, reason: str) -> bool:
        ended = self._end_lease(state=self.State.FAILED, reason=stored_reason(reason))
        if ended:
            log.error("%s is dead-lettered: %s", self, reason)
        return ended

    def retry(self, reason: str) -> bool:
        """Schedule the next attempt, or dead-letter the message once its day is over."""
        if timezone.now() >= self.give_up_at:
            return self.mark_failed(reason)
        due_at = timezone.now() + timedelta(seconds=backoff_seconds(self.attempts))
        return self._end_lease(due_at=due_at, reason=stored_reason(reason))

    def _end_lease(self, **values: Any) -> bool:
        """Save the outcome of a claimed message; return False if this lease is no longer in force."""
        if self.lease_token is None:
            return False
        return bool(self._message().update(lease_token=None, leased_until=None, **values))

    def _message(self) -> "DeliveryQuerySet[Any]":
        """Choose the rows that are sent as one message with this one and are still under this lease."""
        # Use columns of this table only: PostgreSQL does not re-evaluate a subquery after it waited for the row.
        parts: DeliveryQuerySet[Any] = type(self).objects.filter(pk=self.pk, lease_token=self.lease_token)
        return parts


def stored_reason(reason: str) -> str:
    """Return a reason as one storable line, never empty."""
    return shorten(one_line(reason), MAX_REASON_LENGTH) or "no reason given"


def backoff_seconds(attempts: int) -> float:
    """Return the pause after this many attempts: 5 to 10 s after the first, then doubled each time, up to an hour."""
    max_seconds = min(MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS * 2**attempts)
    # Jitter: messages that failed together are not retried together.
    return random.uniform(max_seconds / 2, max_seconds)


def deliver_due(
    queryset: DeliveryQuerySet[Row], send: Callable[[Row], None], *, limit: int = 10, lease_seconds: float = 60
) -> int:
    """Handle up to `limit` due messages and return their number; if it is not 0, there may be more.

    `send` returns when the message is out, or raises Skipped, PermanentFailure, TemporaryFailure or an error of
    smtplib, all well within `lease_seconds`. Messages are claimed one by one, so that a lease covers a single message,
    and a message that kills its worker delays no other.
    """
    for handled in range(limit):
        if not (claimed := queryset.claim(1, lease_seconds)):
            return handled
        deliver_claimed(claimed[0], send)
    return limit


def deliver_claimed(delivery: Row, send: Callable[[Row], None]) -> None:
    """Send a message and save its outcome. A SystemExit leaves the message to its lease."""
    try:
        if delivery.attempts > MAX_ATTEMPTS:
            raise PermanentFailure(f"claimed {MAX_ATTEMPTS} times without ever being marked")
        send(delivery)
    except Skipped as error:
        marked = delivery.mark_skipped(str(error))
    except (PermanentFailure, TemporaryFailure, OSError) as error:
        marked = mark_failure(delivery, classify(error) if isinstance(error, OSError) else error)
    except Exception as error:  # a bug that one message triggers must not stop the others
        log.exception("%s: sending it failed unexpectedly", delivery)
        marked = delivery.retry(f"{type(error).__name__}: {error}")
    else:
        marked = delivery.mark_sent()
    if not marked:
        log.warning("%s: another worker has claimed it meanwhile", delivery)


def mark_failure(delivery: Delivery, error: PermanentFailure | TemporaryFailure) -> bool:
    mark = delivery.mark_failed if isinstance(error, PermanentFailure) else delivery.retry
    return mark(str(error))


def classify(error: OSError) -> PermanentFailure | TemporaryFailure:
    """Tell a permanent error of smtplib or the network from a temporary one: every reply must reject the message."""
    replies: list[tuple[int, bytes | str]] = []
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        replies = list(error.recipients.values())
    elif isinstance(error, smtplib.SMTPResponseException):
        replies = [(error.smtp_code, error.smtp_error)]
    reason = "; ".join(f"{code} {force_str(text, errors='replace')}" for code, text in replies)
    # 530: the client has to authenticate.
    final = replies and all(500 <= code <= 599 and code != 530 for code, _ in replies)
    if final and not isinstance(error, CLIENT_REJECTIONS):
        return PermanentFailure(reason)
    return TemporaryFailure(reason or f"{type(error).__name__}: {error}")
