"""What is late with notifications, in sentences and in figures."""

import math
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from chassis.ops.metrics import Figure, of_outbox
from chassis.worker.mailing import mails_are_held
from directory import health as directory
from notifications.models import Delivery, ReminderRun

LATE_SECONDS = 600
# Where no worker runs, cron looks once a day.
LATE_REMINDERS = timedelta(hours=25)


def gauges() -> Iterator[Figure]:
    """Yield what metrics tell of notifications. Where reminders never ran, their age is not a number."""
    last = ReminderRun.objects.first()
    age = (timezone.now() - last.finished_at).total_seconds() if last else math.nan
    yield "tmservice_reminders_age_seconds", "How long ago reminders were last looked for.", age
    oldest = Delivery.objects.oldest_pending_age_seconds()
    yield "tmservice_oldest_delivery_seconds", "For how long the oldest unsent notification has been waiting.", oldest
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
        yield f"Reminders were last looked for at {last.finished_at:%Y-%m-%d %H:%M} UTC; is a worker or cron running?"
