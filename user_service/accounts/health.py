"""What is late with mails, in sentences and in figures."""

from collections.abc import Iterator

from accounts.models import Mail
from chassis.ops.metrics import Figure, of_outbox
from chassis.worker.mailing import mails_are_held

LATE_SECONDS = 600


def gauges() -> Iterator[Figure]:
    oldest = Mail.objects.oldest_pending_age_seconds()
    yield "tmservice_oldest_mail_seconds", "For how long the oldest unsent mail has been waiting.", oldest
    yield from of_outbox(Mail.objects.all(), "mails")


def concerns() -> Iterator[str]:
    waiting = Mail.objects.oldest_pending_age_seconds()
    if waiting and mails_are_held():
        yield "Mails wait in the database until EMAIL_URL is set."
    elif waiting > LATE_SECONDS:
        yield f"A mail has been waiting to be sent for {waiting / 60:.0f} minutes."
