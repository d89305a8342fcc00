"""Late notifications and reminders, as sentences and as metrics."""

import math
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from chassis.ops.metrics import Figure, of_outbox
from chassis.worker.mailing import mails_are_held
from directory import health as directory
from notifications.models import Delivery, ReminderRun

LATE_SECONDS = 600
# Without a worker, cron runs reminders once a day.
LATE_REMINDERS = timedelta(hours=25)


def gauges() -> Iterator[Figure]:
    """Yield the metrics of notifications. The age of reminders that never ran is NaN."""
    last = ReminderRun.objects.first()
    age = (timezone.now() - last.finished_at).total_seconds() if last else math.nan
    yield "tmservice_reminders_age_seconds", "Age of the last reminder run.", age
    oldest = Delivery.objects.oldest_pending_age_seconds()
    yield "tmservice_oldest_delivery_seconds", "How long the oldest unsent notification has been waiting.", oldest
    yield from of_outbox(Delivery.objects.all(), "deliveries")


def concerns() -> Iterator[str]:
    yield from directory.concerns()
    deliveries = Delivery.objects.all()
    if mails_are_held():
        if deliveries.filter(channel="email").oldest_pending_age_seconds():
            yield "Mails wait in the database until EMAIL_URL is set."
        deliveries = deliveries.exclude(channel="email")
    waiting = deliveries.oldest_pending_age_seconds()
    if waiting > LATE_SECONDS:
        yield f"A notification has been waiting to be sent for {waiting / 60:.0f} minutes."
    last = ReminderRun.objects.first()
    if last is not None and timezone.now() - last.finished_at > LATE_REMINDERS:
        yield f"Reminders last ran at {last.finished_at:%Y-%m-%d %H:%M} UTC; is a worker or cron running?"
