"""Failed attempts with a password: after 10 the next has to wait, 60 s at first and twice as long each time.

Sign-ins count by the identifier as typed, known or unknown, so that two identifiers of one account never tell of each
other. A device that has signed in with an identifier before has a count of its own, so that a stranger's failures do
not lock the owner out. Proving the password while signed in counts by account.
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
    """The next attempt has to wait for `wait_seconds`."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Device:
    """What a sign-in came from, as far as requests show it."""

    network: str
    user_agent: str


class AttemptManager(models.Manager["Attempt"]):
    def begin(self, *, login: str, device: Device) -> "Attempt":
        """Count a sign-in as failed until it has succeeded, or raise TooManyFailures. `login` is folded."""
        return self.count_attempt(identifier_key(login), instead=device_key(login, device))

    def begin_for_account(self, user_id: int) -> "Attempt":
        """The same for somebody signed in who has to prove the current password."""
        return self.count_attempt(account_key(user_id))

    def count_attempt(self, key: str, *, instead: str = "") -> "Attempt":
        """Count on the row `instead` if there is one, otherwise on that of `key`.

        Counting after the hash would let every one of 50 parallel guesses in.
        """
        now = timezone.now()
        with transaction.atomic():
            self.bulk_create([Attempt(key=key, last_at=now)], ignore_conflicts=True)
            rows = self.filter(key__in=[key, instead]).order_by("key").select_for_update().in_bulk()
            known = rows.get(instead)
            shared = rows.get(key, Attempt(key=key, last_at=now))  # the cleaning may just have deleted an old one
            attempt = known if known and now - known.last_at < DEVICE_RETENTION else shared
            attempt.count(now)
            attempt.save()
        return attempt

    def remember(self, device: Device, *, logins: list[str]) -> None:
        """Give the device a fresh count of its own for each of these identifiers."""
        now = timezone.now()
        keys = sorted({device_key(login, device) for login in logins})  # locked in one order, so never a deadlock
        self.bulk_create(
            [Attempt(key=key, last_at=now) for key in keys],
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["failures", "blocked_until", "last_at"],
        )

    def clear_failures(self, *, user_id: int, logins: list[str]) -> None:
        """Lift every wait of an account, on all its devices."""
        mine = models.Q(key__in=[account_key(user_id), *(identifier_key(login) for login in logins)])
        for login in logins:
            mine |= models.Q(key__startswith=devices_key(login))
        self.filter(mine).update(failures=0, blocked_until=None)

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


def devices_key(login: str) -> str:
    """Return what the keys of all devices of an identifier begin with."""
    return f"{DEVICE}{digest(login)[:32]} "


def device_key(login: str, device: Device) -> str:
    return devices_key(login) + digest(f"{device.network} {device.user_agent}")[:32]


def digest(text: str) -> str:
    """Hash with a secret: people type passwords in the place of names."""
    return salted_hmac("accounts.attempt", text, algorithm="sha256").hexdigest()


class Attempt(models.Model):
    key = models.CharField(max_length=80, primary_key=True)
    failures = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True)
    last_at = models.DateTimeField()

    objects: ClassVar[AttemptManager] = AttemptManager()
    before: datetime  # when the attempt before was

    def __str__(self) -> str:
        return f"{self.failures} failures of {self.key}"

    def count(self, now: datetime) -> None:
        if self.blocked_until and self.blocked_until > now:
            raise TooManyFailures(math.ceil((self.blocked_until - now).total_seconds()))
        self.before = self.last_at
        self.failures = 1 if now - self.last_at > RETENTION else self.failures + 1
        self.blocked_until = now + wait_after(self.failures) if self.failures >= FREE_FAILURES else None
        self.last_at = now

    @property
    def wait_seconds(self) -> int:
        """How long the next attempt has to wait if this one fails."""
        return int((self.blocked_until - self.last_at).total_seconds()) if self.blocked_until else 0

    def succeeded(self) -> None:
        """Take this attempt back, and no other: those of a stranger who guesses go on counting against them.

        A reset would give the stranger nine more guesses each time that the owner signs in from somewhere new.
        """
        mine = Attempt.objects.filter(pk=self.pk)
        mine.update(failures=Greatest(models.F("failures") - 1, 0), blocked_until=None, last_at=self.before)


def wait_after(failures: int) -> timedelta:
    doublings = min(failures - FREE_FAILURES, 10)  # no need to count on: the longest wait is reached
    return min(FIRST_WAIT * 2**doublings, MAX_WAIT)
