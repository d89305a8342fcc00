"""Failed sign-ins by account: after 10 the account has to wait, 60 s at first and twice as long each time."""

import hashlib
import math
from datetime import timedelta
from typing import ClassVar

from django.db import models, transaction
from django.utils import timezone

FREE_FAILURES = 10
FIRST_WAIT = timedelta(seconds=60)
LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(days=1)


class TooManyFailures(Exception):
    """The account has to wait for `wait_seconds` before the next attempt."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


class AttemptManager(models.Manager["Attempt"]):
    def begin(self, *, login: str, user_id: int | None) -> "Attempt":
        """Count an attempt as failed until it has succeeded, or raise TooManyFailures.

        Counting afterwards would let every one of 50 parallel guesses in. A name that nobody has is counted like one
        that somebody has; an account is counted as one, by whichever of its names it is tried.
        """
        key = key_of_user(user_id) if user_id else f"name {hashlib.sha256(login.encode()).hexdigest()}"
        with transaction.atomic():
            attempt, _ = self.select_for_update().get_or_create(key=key, defaults={"last_at": timezone.now()})
            attempt.count()
            attempt.save()
        return attempt

    def forgive(self, *, user_id: int) -> None:
        self.filter(key=key_of_user(user_id)).update(failures=0, blocked_until=None)

    def forgotten(self) -> models.QuerySet["Attempt"]:
        return self.filter(last_at__lt=timezone.now() - FORGOTTEN_AFTER)


def key_of_user(user_id: int) -> str:
    return f"user {user_id}"


class Attempt(models.Model):
    key = models.CharField(max_length=80, primary_key=True)
    failures = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True)
    last_at = models.DateTimeField()

    objects: ClassVar[AttemptManager] = AttemptManager()

    def __str__(self) -> str:
        return f"{self.failures} failures of {self.key}"

    def count(self) -> None:
        now = timezone.now()
        if self.blocked_until and self.blocked_until > now:
            raise TooManyFailures(math.ceil((self.blocked_until - now).total_seconds()))
        self.failures = 1 if now - self.last_at > FORGOTTEN_AFTER else self.failures + 1
        self.blocked_until = now + wait_after(self.failures) if self.failures >= FREE_FAILURES else None
        self.last_at = now

    def succeeded(self) -> None:
        Attempt.objects.filter(pk=self.pk).update(failures=0, blocked_until=None)


def wait_after(failures: int) -> timedelta:
    doublings = min(failures - FREE_FAILURES, 10)  # no need to count on: the longest wait is reached
    return min(FIRST_WAIT * 2**doublings, LONGEST_WAIT)
