"""Failed password attempts: after 10, the next must wait 60 s, and each further failure doubles the wait.

Sign-ins count by the identifier as typed, known or unknown, so that the two identifiers of an account do not reveal
each other. A device that has signed in with an identifier before has its own count, so that a stranger's failures do
not lock the owner out. Entering the password while signed in counts by account.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models, transaction
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.crypto import salted_hmac

FREE_FAILURES = 10
FIRST_WAIT = timedelta(seconds=60)
MAX_WAIT = timedelta(minutes=15)
RETENTION = timedelta(days=1)
DEVICE_RETENTION = timedelta(days=90)
DEVICE = "device "


class TooManyFailures(Exception):
    """The next attempt must wait for `wait_seconds`."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Device:
    """The client of a sign-in, as far as a request identifies it."""

    network: str
    user_agent: str


class AttemptManager(models.Manager["Attempt"]):
    def begin(self, *, login: str, device: Device) -> "Attempt":
        """Count a sign-in as failed until it succeeds, or raise TooManyFailures. `login` is folded."""
        return self.count_attempt(identifier_key(login), device=device_key(login, device))

    def begin_for_account(self, user_id: int) -> "Attempt":
        """Count an attempt to enter the current password while signed in, or raise TooManyFailures."""
        return self.count_attempt(account_key(user_id))

    def count_attempt(self, key: str, *, device: str = "") -> "Attempt":
        """Count on the row of `device` if it exists, otherwise on the row of `key`.

        Counting after the hash would admit all of 50 parallel guesses.
        """
        now = timezone.now()
        with transaction.atomic():
            self.bulk_create([Attempt(key=key, last_at=now)], ignore_conflicts=True)
            rows = self.filter(key__in=[key, device]).order_by("key").select_for_update().in_bulk()
            known = rows.get(device)
            shared = rows.get(key, Attempt(key=key, last_at=now))  # the cleaning job may just have deleted it
            attempt = known if known and now - known.last_at < DEVICE_RETENTION else shared
            attempt.count(now)
            attempt.save()
        return attempt

    def remember(self, device: Device, *, logins: list[str]) -> None:
        """Start a new count of the device for each of these identifiers."""
        now = timezone.now()
        keys = sorted({device_key(login, device) for login in logins})  # one lock order, so no deadlock
        self.bulk_create(
            [Attempt(key=key, last_at=now) for key in keys],
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["failures", "blocked_until", "last_at"],
        )

    def clear_failures(self, *, user_id: int, logins: list[str]) -> None:
        """Reset all counts and waits of an account, on all its devices."""
        rows = models.Q(key__in=[account_key(user_id), *(identifier_key(login) for login in logins)])
        for login in logins:
            rows |= models.Q(key__startswith=device_key_prefix(login))
        self.filter(rows).update(failures=0, blocked_until=None)

    def expired(self) -> models.QuerySet["Attempt"]:
        now = timezone.now()
        is_device = models.Q(key__startswith=DEVICE)
        return self.filter(
            (~is_device & models.Q(last_at__lt=now - RETENTION))
            | (is_device & models.Q(last_at__lt=now - DEVICE_RETENTION))
        )


def account_key(user_id: int) -> str:
    return f"user {user_id}"


def identifier_key(login: str) -> str:
    return f"name {digest(login)}"


def device_key_prefix(login: str) -> str:
    return f"{DEVICE}{digest(login)[:32]} "


def device_key(login: str, device: Device) -> str:
    return device_key_prefix(login) + digest(f"{device.network} {device.user_agent}")[:32]


def digest(text: str) -> str:
    """Hash with a secret: people type passwords into the username field by mistake."""
    return salted_hmac("accounts.attempt", text, algorithm="sha256").hexdigest()


class Attempt(models.Model):
    key = models.CharField(max_length=80, primary_key=True)
    failures = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True)
    last_at = models.DateTimeField()

    objects: ClassVar[AttemptManager] = AttemptManager()
    previous_at: datetime  # of the attempt before this one

    def __str__(self) -> str:
        return f"{self.failures} failures of {self.key}"

    def count(self, now: datetime) -> None:
        if self.blocked_until and self.blocked_until > now:
            raise TooManyFailures(math.ceil((self.blocked_until - now).total_seconds()))
        self.previous_at = self.last_at
        self.failures = 1 if now - self.last_at > RETENTION else self.failures + 1
        self.blocked_until = now + wait_after(self.failures) if self.failures >= FREE_FAILURES else None
        self.last_at = now

    @property
    def wait_seconds(self) -> int:
        """How long the next attempt must wait if this one fails."""
        return int((self.blocked_until - self.last_at).total_seconds()) if self.blocked_until else 0

    def succeeded(self) -> None:
        """Subtract this attempt only: a stranger's failures still count.

        A reset would give the stranger nine more guesses whenever the owner signs in from a new device.
        """
        row = Attempt.objects.filter(pk=self.pk)
        row.update(failures=Greatest(models.F("failures") - 1, 0), blocked_until=None, last_at=self.previous_at)


def wait_after(failures: int) -> timedelta:
    doublings = min(failures - FREE_FAILURES, 10)  # MAX_WAIT is reached by then
    return min(FIRST_WAIT * 2**doublings, MAX_WAIT)
