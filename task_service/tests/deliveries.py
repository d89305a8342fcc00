"""Helpers for the tests of notifications: deliver, advance the time, read the results, run the service."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.core import mail
from django.db import connection

from chassis.testing import clock
from notifications import delivering
from notifications.channels import channel
from notifications.models import Delivery
from tasks.models import Task

SERVICE = Path(__file__).resolve().parent.parent


def change(task, *, by, **values):
    """Change a task by its queryset, as every request does."""
    (changed,) = Task.objects.filter(pk=task.pk).change(by_id=by and by.id, **values)
    return changed


def deliver_all(*channels):
    """Deliver over these channels, or over all, until nothing is due."""
    for name in channels or settings.NOTIFICATION_CHANNELS:
        while delivering.deliver_channel(name):
            pass


advance_time = partial(clock.advance_time, Delivery)


def states(**chosen):
    return list(Delivery.objects.filter(**chosen).order_by("pk").values_list("state", flat=True))


def outcome(**chosen):
    """Return state and reason of the only delivery that matches."""
    return Delivery.objects.values_list("state", "reason").get(**chosen)


def delivery_ids(**chosen):
    return list(Delivery.objects.filter(**chosen).order_by("pk").values_list("pk", flat=True))


def sent_mails():
    """Return recipient and subject of each mail, in the order of sending."""
    return [(each.to[0].partition("@")[0], each.subject) for each in mail.outbox]


def log_entries():
    return [json.loads(line) for line in Path(settings.NOTIFICATION_LOG).read_text().splitlines()]


def use_smtp(settings, port):
    """Send mails to a port of this machine."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", port, 5


@contextmanager
def only_channel(settings, channel_class):
    """Notify over this channel only."""
    settings.NOTIFICATION_CHANNELS = ["test"]
    settings.NOTIFICATION_CHANNEL_CLASSES = {"test": f"{channel_class.__module__}.{channel_class.__qualname__}"}
    channel.cache_clear()
    yield channel("test")
    channel.cache_clear()


def start(*arguments, **environment):
    """Start Python with these arguments in the folder of the service, on the test database."""
    values = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items() if name.isupper()}
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**values)
    values = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"} | environment
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=SERVICE, env=values, stdout=-1, stderr=-1, text=True
    )


def run(*arguments, **environment):
    """Do the same, wait for the end, and return exit status, output and errors."""
    with start(*arguments, **environment) as process:
        output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors
