"""Background jobs: sending mails and deleting expired rows."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from accounts import mail_texts
from accounts.models import Attempt, EmailToken, IdempotencyRecord, Mail, PasswordToken, Session, User
from chassis.database import long_statements
from chassis.worker.jobs import Job
from chassis.worker.mailing import message_id, send_mail
from chassis.worker.outbox import Skipped, deliver_due

MAIL_RETENTION = timedelta(days=7)
MAILS = Mail.objects.all()  # one object, so that its claim is compiled once


def jobs() -> list[Job]:
    if folder := settings.EMAIL_FILE_PATH:  # mails contain tokens
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        Job("mails", deliver_mails, every_seconds=2),
        Job("cleaning", clean, every_seconds=3600),
    ]


def deliver_mails() -> int:
    return 0 if settings.MAILS_ARE_HELD else deliver_due(MAILS, send_account_mail)


def send_account_mail(mail: Mail) -> None:
    """Send one mail, or raise Skipped if there is no recipient.

    The account is locked while the token is created. So a later change of the address or a deactivation revokes the
    token, and an earlier one is visible here.
    """
    with transaction.atomic():
        user = lock_recipient(mail)
        mail.check_rate()
        token = issue_token(user, mail)
    subject, body = mail_texts.compose(mail, user, token)
    message = EmailMessage(
        subject=subject,
        body=body,
        to=[mail.address or user.email],
        headers={"Message-ID": message_id(mail.pk, prefix="user-mail"), "Auto-Submitted": "auto-generated"},
    )
    send_mail(message)


def lock_recipient(mail: Mail) -> User:
    """Return the locked account, or raise Skipped."""
    if mail.kind == Mail.Kind.PASSWORD_RESET and mail.give_up_at < timezone.now():
        raise Skipped("the request is too old")  # mails were held, or no worker ran for a day
    accounts = User.objects.select_for_update(no_key=True)
    if mail.user_id is None:
        user = accounts.filter(email_key=mail.email_key, is_active=True).first()
        if user is None:
            raise Skipped("no active account has this address")
        if mail.kind == Mail.Kind.INVITATION and not user.is_pending:
            raise Skipped("the account already has a password")
        return user
    user = accounts.filter(pk=mail.user_id).first()
    if user is None:
        raise Skipped("the account was deleted")
    if mail.kind == Mail.Kind.EMAIL_CONFIRMATION and not (user.is_active and user.needs_confirmation(mail.address)):
        raise Skipped("the address no longer needs confirmation")
    return user


def issue_token(user: User, mail: Mail) -> str | None:
    match mail.kind:
        case Mail.Kind.PASSWORD_RESET | Mail.Kind.INVITATION:
            return PasswordToken.objects.issue(user, Mail.Kind(mail.kind))
        case Mail.Kind.EMAIL_CONFIRMATION:
            return EmailToken.objects.issue(user, mail.address)
    return None


def clean() -> None:
    now = timezone.now()
    for old in (
        Session.objects.expired(),
        PasswordToken.objects.filter(expires_at__lte=now),
        EmailToken.objects.filter(expires_at__lte=now),
        Attempt.objects.expired(),
        Mail.objects.finished_before(now - MAIL_RETENTION),
    ):
        with long_statements():
            old.delete()
    IdempotencyRecord.objects.delete_expired()
