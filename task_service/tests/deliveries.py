"""Helpers for the tests of notifications: deliver, advance the time, read the states of deliveries."""

from datetime import timedelta
from urllib.parse import quote

from django.conf import settings
from django.db import connection
from django.db.models import F

from notifications import delivering
from notifications.models import Delivery
from tasks.models import Task

SMTP = "django.core.mail.backends.smtp.EmailBackend"


def change(task, *, by, **values):
    """Change a task by its queryset, as every request does."""
    (changed,) = Task.objects.filter(pk=task.pk).change(by_id=by and by.id, **values)
    return changed


def deliver_all(*channels):
    """Deliver over these channels, or over all, until nothing is due."""
    for name in channels or settings.NOTIFICATION_CHANNELS:
        while delivering.deliver_channel(name):
            pass


def advance_time(**duration):
    """Move all times of all deliveries back, instead of waiting."""
    instants = ["planned_at", "due_at", "give_up_at", "leased_until", "sent_at"]
    Delivery.objects.update(**{name: F(name) - timedelta(**duration) for name in instants})


def states(**chosen):
    return list(Delivery.objects.filter(**chosen).order_by("pk").values_list("state", flat=True))


def outcome(**chosen):
    """Return state and reason of the only delivery that matches."""
    return Delivery.objects.values_list("state", "reason").get(**chosen)


def database_url():
    """Return the URL of the test database, for a separate process."""
    values = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items() if name.isupper()}
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**values)
