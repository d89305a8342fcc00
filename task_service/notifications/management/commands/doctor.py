import os
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import Error
from django.utils import timezone

from chassis.models import Heartbeat
from chassis.ops import findings
from chassis.ops.doctor import DEAD_WORKER_SECONDS, DoctorCommand, outbox
from chassis.ops.findings import Check, Finding, duration, manage, ok, unsure, wrong
from directory import client
from directory.models import Feed
from notifications.health import LATE_REMINDERS
from notifications.models import Delivery, ReminderRun
from tasks.models import Task

WORKERS_REMINDERS_SECONDS = 600
LATE_FEED_SECONDS = 60
ANSWER_SECONDS = 2.0
REFUSALS = {
    "answered 401": "refuses our token: JWT_SIGNING_KEY differs there, or its clock by half a minute or more; give "
    "both services the same key",
    "answered 400": "refuses the name by which it is called; add that host to ALLOWED_HOSTS there",
    "answered 404": "has no such route: USER_SERVICE_URL must lead to the service itself, not to the gateway",
}


class Command(DoctorCommand):
    def stored(self) -> Mapping[str, Check]:
        return {"deliveries": deliveries, "reminders": reminders, "directory": directory, "search": search}

    def around(self) -> Mapping[str, Check]:
        return {"channels": channels, "users": user_service}

    def sends_mails(self) -> bool:
        return "email" in settings.NOTIFICATION_CHANNELS


def deliveries() -> Finding:
    remedy = f"when that is fixed: {manage('replay_deliveries')}"
    return outbox(Delivery.objects.all(), noun="notifications", remedy=remedy)


def reminders() -> Finding:
    last = ReminderRun.objects.first()
    if last is None:
        return unsure(f"were never looked for; a worker does so every minute, cron by {manage('check_due_tasks')}")
    age = timezone.now() - last.finished_at
    text = f"were last looked for {duration(age.total_seconds())} ago"
    if age > LATE_REMINDERS:
        return wrong(f"{text}; start a worker, or let cron run {manage('check_due_tasks')} once a day")
    if age.total_seconds() > WORKERS_REMINDERS_SECONDS and Heartbeat.objects.age_seconds() < DEAD_WORKER_SECONDS:
        return wrong(f"{text}, though a worker runs; its log says why")
    return ok(text)


def directory() -> Finding:
    feed = Feed.objects.first()
    if feed is None or feed.pulled_at is None:
        return wrong(f"the accounts were never read from the user service; start a worker: {manage('run_worker')}")
    lag = (timezone.now() - feed.pulled_at).total_seconds()
    text = f"the accounts were last read {duration(lag)} ago, up to change {feed.position}"
    if lag > LATE_FEED_SECONDS:
        return wrong(f"{text}; a worker does so all the time: is one running, and does the user service answer it?")
    return ok(text)


def search() -> Finding:
    waiting = Task.objects.not_indexed().count()
    if waiting:
        return unsure(f"{waiting} tasks are not indexed yet and found by whole words only; a worker goes on with it")
    return ok("all tasks are indexed")


def channels() -> Finding:
    text = f"notifications go out by {' and '.join(settings.NOTIFICATION_CHANNELS)}"
    if "log" not in settings.NOTIFICATION_CHANNELS:
        return ok(text)
    if not settings.NOTIFICATION_LOG:
        return ok(f"{text}; the log is the worker's standard output")
    file = Path(settings.NOTIFICATION_LOG)
    if not os.access(file.parent, os.W_OK | os.X_OK):
        return wrong(f"{text}, but {file.parent} is no folder that may be written; set NOTIFICATION_LOG")
    return ok(f"{text}; the log is {file}")


def user_service() -> Finding:
    """Ask as the worker does: with a token that the user service has to accept."""
    url = settings.USER_SERVICE_URL
    try:
        client.changes(position(), seconds=ANSWER_SECONDS)
    except client.DirectoryUnavailable as error:
        cause = str(error.__cause__)
        what = REFUSALS.get(cause, f"gives no answer that can be relied on: {cause}; is USER_SERVICE_URL right?")
        return wrong(f"the user service at {url} {what}")
    apart = client.clock_difference_seconds.get()
    if apart is not None and apart > findings.ODD_CLOCK_SECONDS:
        return findings.clock(apart, whose=f"that of the user service at {url}")
    return ok(f"the user service at {url} accepts our token")


def position() -> int:
    """Return how far the feed was read; 0 where the database does not tell."""
    try:
        feed = Feed.objects.first()
    except Error:
        return 0
    return feed.position if feed else 0
