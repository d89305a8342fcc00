"""Checks of notifications, and the list of all checks of this service."""

import math
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from chassis.ops import checks
from chassis.ops.checks import Check
from chassis.ops.findings import Finding, Gauge, State, duration, manage_command, ok, unsure, wrong
from directory.health import CHECKS as DIRECTORY_CHECKS
from notifications.models import Delivery, ReminderRun
from tasks.health import CHECKS as TASK_CHECKS

MAX_REMINDER_AGE = timedelta(hours=25)  # without a worker, cron runs reminders once a day
MAX_REMINDER_AGE_OF_WORKER = timedelta(minutes=10)


def deliveries() -> Finding:
    waiting = Delivery.objects.all()
    sendable = waiting.exclude(channel="email") if settings.MAILS_ARE_HELD else waiting
    return checks.outbox(waiting, one="delivery", many="deliveries", sendable=sendable)


def held() -> Finding:
    return checks.held_mails(Delivery.objects.filter(channel="email"))


def failed() -> Finding:
    remedy = f"once that is fixed: {manage_command('replay_deliveries')}"
    return checks.failed(Delivery.objects.all(), many="deliveries", remedy=remedy)


def reminders() -> Finding:
    last = ReminderRun.objects.first()
    age = timezone.now() - last.finished_at if last else None
    seconds = age.total_seconds() if age else math.nan
    gauges = (Gauge("tmservice_reminders_age_seconds", "Age of the last reminder run.", seconds),)
    if age is None:
        remedy = f"a worker runs them every minute, cron by {manage_command('check_due_tasks')}"
        return unsure(f"they never ran; {remedy}", gauges)
    text = f"they last ran {duration(seconds)} ago"
    if age > MAX_REMINDER_AGE:
        return wrong(f"{text}; start a worker, or let cron run {manage_command('check_due_tasks')} once a day", gauges)
    if age > MAX_REMINDER_AGE_OF_WORKER and checks.is_worker_alive():
        return wrong(f"{text}, although a worker runs; see its log", gauges)
    return ok(text, gauges)


CHECKS = [
    *DIRECTORY_CHECKS,
    Check("deliveries", deliveries, degrades=(State.WRONG,), measured=True),
    Check("held", held, degrades=(State.UNSURE,)),
    Check("failed", failed, measured=True),
    Check("reminders", reminders, degrades=(State.WRONG,), measured=True),
    *TASK_CHECKS,
]
