import os
from pathlib import Path

from django.conf import settings
from django.db import Error

from chassis.ops import findings
from chassis.ops.checks import Check
from chassis.ops.doctor import DoctorCommand
from chassis.ops.findings import Finding, State, ok, wrong
from directory import client
from directory.models import Feed
from notifications.health import CHECKS

TIMEOUT_SECONDS = 2.0
HINTS = {
    "answered 401": "rejects our token: its JWT_SIGNING_KEY differs, or its clock by half a minute or more; "
    "give both services the same key",
    "answered 400": "rejects this host name; add it to ALLOWED_HOSTS there",
    "answered 404": "has no such route: USER_SERVICE_URL must be the address of the service itself, not of the gateway",
}


def channels() -> Finding:
    text = f"notifications are sent by {' and '.join(settings.NOTIFICATION_CHANNELS)}"
    if "log" not in settings.NOTIFICATION_CHANNELS:
        return ok(text)
    if not settings.NOTIFICATION_LOG:
        return ok(f"{text}; the log is the worker's standard output")
    file = Path(settings.NOTIFICATION_LOG)
    if not os.access(file.parent, os.W_OK | os.X_OK):
        return wrong(f"{text}, but {file.parent} is not a writable folder; change NOTIFICATION_LOG")
    return ok(f"{text}; the log is {file}")


def user_service() -> Finding:
    """Call the user service as the worker does, with a token."""
    url = settings.USER_SERVICE_URL
    try:
        client.changes(position(), seconds=TIMEOUT_SECONDS)
    except client.DirectoryUnavailable as error:
        cause = str(error.__cause__)
        what = HINTS.get(cause, f"gives no valid response: {cause}; is USER_SERVICE_URL right?")
        return wrong(f"the user service at {url} {what}")
    found = findings.clock(client.clock_difference_seconds.get() or 0.0, whose=f"that of the user service at {url}")
    if found.state is not State.OK:
        return found
    return ok(f"the user service at {url} accepts our token")


def position() -> int:
    """Return how far the feed was read; 0 if the database cannot be reached."""
    try:
        feed = Feed.objects.first()
    except Error:
        return 0
    return feed.position if feed else 0


class Command(DoctorCommand):
    checks = CHECKS
    outside_checks = (Check("channels", channels), Check("users", user_service))

    def sends_mails(self) -> bool:
        return "email" in settings.NOTIFICATION_CHANNELS
