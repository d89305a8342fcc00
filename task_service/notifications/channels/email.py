"""A mail to one recipient, by Django's mail backends."""

from email.utils import formatdate

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.utils.html import format_html

from chassis.mailing import send_mail
from chassis.outbox import Skipped
from notifications.channels import Channel, Message

LONGEST_SUBJECT = 150


class Email(Channel):
    def send(self, message: Message) -> None:
        if message.recipient is None or not message.recipient.email:
            raise Skipped("the account has no confirmed address")
        mail = EmailMultiAlternatives(
            subject=subject(message.event.text),
            body=f"{message.event.text}\n\n{message.url}\n",
            to=[message.recipient.email],
            headers={
                # A retry is the same message: programs that read mail show it once.
                "Message-ID": f"<notification-{message.id}@{settings.MAIL_DOMAIN}>",
                "Date": formatdate(message.event.created_at.timestamp()),
                "X-TMService-Event": message.event.kind,
                "Auto-Submitted": "auto-generated",
            },
        )
        mail.attach_alternative(as_html(message), "text/html")
        send_mail(mail)


def subject(text: str) -> str:
    """Return a text as one line of a header, cut to 150 characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    line = line.replace("=?", "= ?")  # what looks encoded would be decoded
    return line if len(line) <= LONGEST_SUBJECT else f"{line[: LONGEST_SUBJECT - 1]}\u2026"


def as_html(message: Message) -> str:
    return format_html('<p>{}</p>\n<p><a href="{}">{}</a></p>\n', message.event.text, message.url, message.url)
