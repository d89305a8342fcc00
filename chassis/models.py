"""Tables of the chassis; each service has them in its own schema."""

import math
from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class WindowQuerySet(models.QuerySet["Window"]):
    def ended(self) -> models.QuerySet["Window"]:
        return self.filter(ends_at__lt=Now() - timedelta(minutes=1))


class Window(models.Model):
    """The number of requests of a caller in the current window; see chassis.auth.limits.

    The table is UNLOGGED: PostgreSQL empties it after a crash, and every window starts again.
    """

    key = models.TextField(primary_key=True)
    ends_at = models.DateTimeField()
    requests = models.BigIntegerField()
    not_modified = models.BigIntegerField(db_default=0)  # the number of 304s refunded in this window

    objects: ClassVar[WindowQuerySet] = WindowQuerySet.as_manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.requests} requests of {self.key}"


class HeartbeatManager(models.Manager["Heartbeat"]):
    def beat(self) -> None:
        self.update_or_create(pk=1, defaults={"beat_at": timezone.now()})

    def age_seconds(self) -> float:
        """Return the time since the last heartbeat of a worker; NaN if there was none."""
        beat = self.first()
        return (timezone.now() - beat.beat_at).total_seconds() if beat else math.nan


class Heartbeat(models.Model):
    """The last heartbeat of a worker of this service. There is one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    beat_at = models.DateTimeField()

    objects: ClassVar[HeartbeatManager] = HeartbeatManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_heartbeat")]

    def __str__(self) -> str:
        return f"a worker at {self.beat_at}"
