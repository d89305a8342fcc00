"""Sending mails and linking in them, the same in both services. What can never be sent is not tried for a day."""

from email.errors import MessageError

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.crypto import salted_hmac

from chassis.addresses import is_address
from chassis.worker.outbox import PermanentFailure


def link(path: str) -> str:
    """Return an address for a mail, where there is nothing that it could be relative to."""
    return f"{settings.PUBLIC_URL or settings.LOCAL_URL}{path}"


def message_id(number: int, *, prefix: str) -> str:
    """Return the Message-ID of the mail with this number: another one on every installation, though numbers and
    domains repeat, and the same one for every attempt to send it.
    """
    installation = salted_hmac("chassis.worker.mailing.message_id", settings.SERVICE, algorithm="sha256").hexdigest()[
        :16
    ]
    return f"<{prefix}-{number}.{installation}@{settings.MAIL_DOMAIN}>"


def send_mail(message: EmailMessage) -> None:
    """Send a mail. Raise PermanentFailure for one that cannot be built, and what smtplib raises otherwise.

    Addresses are checked again here: they may have been stored by a version that accepted more.
    """
    recipients = message.recipients()
    if not (recipients and all(map(is_address, recipients))):
        raise PermanentFailure("the account's address is not valid")
    try:
        str(message.body).encode()  # from 3.13 on the email package writes half of a surrogate pair as a stray byte
        message.message().as_bytes()
    except (ValueError, MessageError) as error:  # a BadHeaderError or UnicodeError is a ValueError
        raise PermanentFailure(f"the mail cannot be built: {type(error).__name__}") from error
    message.send()
