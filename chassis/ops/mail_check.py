"""A check that mails can be sent or written to files."""

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
    """Check that mails can be sent; if an address is given, send one there."""
    if settings.MAILS_ARE_HELD:
        return unsure("no mail is sent: they wait in the database until EMAIL_URL is set")
    folder = settings.EMAIL_FILE_PATH
    try:
        return mail_to_folder(Path(folder), address) if folder else mail_to_server(address)
    except OSError as error:
        place = f"the folder {folder}" if folder else server()
        remedy = (
            "set MAIL_FOLDER or EMAIL_URL" if folder else "set EMAIL_URL to a server that accepts this service's mails"
        )
        return wrong(f"{place}: {reason(error)}; {remedy}")


def mail_to_folder(folder: Path, address: str | None) -> Finding:
    place = f"files in {folder}, as EMAIL_URL is not set"
    if address:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # mails contain tokens
        send(address, get_connection())
        return ok(f"the mail to {address} is one of the {place}")
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return wrong(f"mails are {place}, but the folder is not writable; set MAIL_FOLDER or EMAIL_URL")
    return ok(f"mails are {place}")


def mail_to_server(address: str | None) -> Finding:
    if warning := sender_warning(settings.MAIL_DOMAIN):
        return wrong(warning)
    backend: Any = get_connection()
    with backend as session:  # connects, starts TLS and signs in as configured
        code, reply = session.connection.noop()
        if code != 250:  # RFC 5321 section 4.3.2
            raise smtplib.SMTPResponseException(code, reply)
        if address:
            send(address, session)
            return ok(f"{server()} accepted a mail to {address}; did it arrive?")
    login = (
        f"accepts the login of {settings.EMAIL_HOST_USER}" if settings.EMAIL_HOST_USER else "responds, without a login"
    )
    return ok(f"{server()} {login}; --mail ADDRESS sends a mail")


def server() -> str:
    return f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"


def send(address: str, session: Any) -> None:
    name = settings.SERVICE
    EmailMessage(
        subject=f"Test mail from {name}",
        body=f"manage.py doctor of {name} sent this test mail.\n",
        to=[address],
        headers={"Message-ID": f"<doctor-{uuid4().hex}@{settings.MAIL_DOMAIN}>", "Auto-Submitted": "auto-generated"},
        connection=session,
    ).send()


def reason(error: OSError) -> str:
    return str(classify(error)) if isinstance(error, smtplib.SMTPException) else error.strerror or str(error)
