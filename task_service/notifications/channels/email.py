"""One mail per recipient, over Django's mail backends."""

import re
from collections.abc import Sequence
from email.utils import formatdate

from django.core.mail import EmailMultiAlternatives
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from chassis.printable import FIRST_ISOLATE, POP_ISOLATE, isolate, one_line, shorten
from chassis.worker.mailing import message_id, send_mail
from chassis.worker.outbox import Skipped
from notifications.channels import Channel, Entry, Message

MAX_SUBJECT, MIN_TITLE = 150, 30
ISOLATED = re.compile(f"{FIRST_ISOLATE}([^{POP_ISOLATE}]*){POP_ISOLATE}")


class Email(Channel):
    def send(self, message: Message) -> None:
        if message.recipient is None or not message.recipient.email:
            raise Skipped("the account has no confirmed address")
        texts = [entry.event.text for entry in message.entries]
        kinds = dict.fromkeys(str(entry.event.kind) for entry in message.entries)
        mail = EmailMultiAlternatives(
            subject=subject(texts),
            body="\n".join(as_text(entry) for entry in message.entries),
            to=[message.recipient.email],
            headers={
                # The same for every retry, so that mail clients show it once.
                "Message-ID": message_id(message.id, prefix="notification"),
                "Date": formatdate(message.event.created_at.timestamp()),
                "X-TMService-Event": ", ".join(kinds),
                "Auto-Submitted": "auto-generated",
            },
        )
        mail.attach_alternative("".join(as_html(entry) for entry in message.entries), "text/html")
        send_mail(mail)


def subject(texts: Sequence[str]) -> str:
    """Return one line: the first text, its title shortened to fit, and the number of further texts."""
    text = texts[0].replace("=?", "= ?")  # mail clients would decode it as an encoded word
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    if not ISOLATED.search(text):  # planned by the previous version, in an unknown format
        return shorten(one_line(text), MAX_SUBJECT - len(more)) + more
    room = MAX_SUBJECT - len(ISOLATED.sub(isolate(""), text)) - len(more)
    return ISOLATED.sub(lambda title: isolate(shorten(title[1], max(room, MIN_TITLE))), text) + more


def as_text(entry: Entry) -> str:
    return f"{entry.event.text}\n\n{entry.url}\n" if entry.url else f"{entry.event.text}\n"


def as_html(entry: Entry) -> SafeString:
    text = format_html("<p>{}</p>\n", with_bdi(entry.event.text))
    return text + format_html('<p><a href="{}">{}</a></p>\n', entry.url, entry.url) if entry.url else text


def with_bdi(text: str) -> SafeString:
    """Isolate titles with HTML tags: some mail clients drop the isolating characters."""
    tagged = escape(text).replace(FIRST_ISOLATE, "<bdi>").replace(POP_ISOLATE, "</bdi>")
    return mark_safe(tagged)  # noqa: S308 - the line before escapes it
