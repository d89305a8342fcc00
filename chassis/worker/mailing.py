"""Mails of both services. A mail that can never be sent fails at once instead of being retried for a day."""

from email.errors import MessageError

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.crypto import salted_hmac

from chassis.addresses import is_address
from chassis.worker.outbox import PermanentFailure


def link(path: str) -> str:
    """Return an absolute URL for a mail."""
    return f"{settings.PUBLIC_URL or settings.LOCAL_URL}{path}"


def message_id(number: int, *, prefix: str) -> str:
    """Return the Message-ID of a mail. It is the same for every attempt, and different on every installation even with
    the same number and domain.
    """
    installation = salted_hmac("chassis.worker.mailing.message_id", settings.SERVICE, algorithm="sha256").hexdigest()[
        :16
    ]
    return f"<{prefix}-{number}.{installation}@{settings.MAIL_DOMAIN}>"


def send_mail(message: EmailMessage) -> None:
    """Send a mail. Raise PermanentFailure if it cannot be built, otherwise errors of smtplib.

    Addresses are checked again, because an older version may have stored ones that are no longer accepted.
    """
    recipients = message.recipients()
    if not (recipients and all(map(is_address, recipients))):
        raise PermanentFailure("the account's address is not valid")
    try:
        str(message.body).encode()  # from 3.13 on, the email package writes a lone surrogate as a stray byte
        message.message().as_bytes()
    except (ValueError, MessageError) as error:  # BadHeaderError and UnicodeError are ValueErrors
        raise PermanentFailure(f"the mail cannot be built: {type(error).__name__}") from error
    message.send()
