"""What the tests of notifications share: waiting that takes no time, and what became of the deliveries."""

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
    """Change a task through its door, as every request does."""
    (changed,) = Task.objects.filter(pk=task.pk).change(by_id=by and by.id, **values)
    return changed


def deliver_all(*channels):
    """Deliver by these channels, or by all, until nothing is due."""
    for name in channels or settings.NOTIFICATION_CHANNELS:
        while delivering.deliver_channel(name):
            pass


def let_pass(**duration):
    """Move every instant of every delivery back, which is as good as waiting."""
    instants = ["planned_at", "due_at", "give_up_at", "leased_until", "sent_at"]
    Delivery.objects.update(**{name: F(name) - timedelta(**duration) for name in instants})


def states(**chosen):
    return list(Delivery.objects.filter(**chosen).order_by("pk").values_list("state", flat=True))


def outcome(**chosen):
    """Return state and reason of the one delivery that is meant."""
    return Delivery.objects.values_list("state", "reason").get(**chosen)


def database_url():
    """Return where the test's database is, for a process of its own."""
    values = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items() if name.isupper()}
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**values)
