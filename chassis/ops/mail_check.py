"""Whether mails can leave, by the mail server or as files."""

import os
import smtplib
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from chassis.ops.findings import Finding, ok, unsure, wrong
from chassis.ops.settings import sender_warning
from chassis.worker.outbox import classify


def mail(address: str | None) -> Finding:
    """Look whether mails would get away; where an address is given, send one there."""
    if settings.MAILS_ARE_HELD:
        return unsure("no mail is sent: all wait in the database until EMAIL_URL is set")
    folder = settings.EMAIL_FILE_PATH
    try:
        return mail_to_folder(Path(folder), address) if folder else mail_to_server(address)
    except OSError as error:
        place = f"the folder {folder}" if folder else server()
        remedy = (
            "set MAIL_FOLDER, or EMAIL_URL" if folder else "set EMAIL_URL to a server that takes this service's mails"
        )
        return wrong(f"{place}: {reason(error)}; {remedy}")


def mail_to_folder(folder: Path, address: str | None) -> Finding:
    place = f"files in {folder}, as EMAIL_URL is not set"
    if address:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it will hold tokens
        send(address, get_connection())
        return ok(f"the mail to {address} is one of the {place}")
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return wrong(f"mails become {place}, and may not be written there; set MAIL_FOLDER, or EMAIL_URL")
    return ok(f"mails become {place}")


def mail_to_server(address: str | None) -> Finding:
    if warning := sender_warning(settings.MAIL_DOMAIN):
        return wrong(warning)
    backend: Any = get_connection()
    with backend as session:  # connected, encrypted and signed in as the settings say
        code, answer = session.connection.noop()
        if code != 250:  # RFC 5321 section 4.3.2
            raise smtplib.SMTPResponseException(code, answer)
        if address:
            send(address, session)
            return ok(f"{server()} took a mail to {address}; did it come?")
    login = f"lets {settings.EMAIL_HOST_USER} in" if settings.EMAIL_HOST_USER else "answers, without a login"
    return ok(f"{server()} {login}; --mail ADDRESS sends a mail")


def server() -> str:
    return f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"


def send(address: str, session: Any) -> None:
    name = settings.SERVICE
    EmailMessage(
        subject=f"A mail from {name}",
        body=f"This was sent by manage.py doctor of {name}: its mails arrive here.\n",
        to=[address],
        headers={"Message-ID": f"<doctor-{uuid4().hex}@{settings.MAIL_DOMAIN}>", "Auto-Submitted": "auto-generated"},
        connection=session,
    ).send()


def reason(error: OSError) -> str:
    return str(classify(error)) if isinstance(error, smtplib.SMTPException) else error.strerror or str(error)
