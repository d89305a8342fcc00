"""What the mails say, and the jobs of the user service's worker."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from accounts.models import Attempt, KeptAnswer, Mail, PasswordToken, Session, User
from chassis.jobs import Job
from chassis.mailing import send_mail
from chassis.outbox import Skipped, deliver_due

KEPT = timedelta(days=7)
SUBJECTS = {
    Mail.Kind.PASSWORD_RESET: "Choose a new password",
    Mail.Kind.INVITATION: "You have been given an account",
}
OPENINGS = {
    Mail.Kind.PASSWORD_RESET: "somebody, most likely you, has asked for a new password for your account. If it was not "
    "you, do nothing: your password stays as it is.",
    Mail.Kind.INVITATION: "an account has been made for you. Choose a password to begin.",
}
VALIDITY = {Mail.Kind.PASSWORD_RESET: "for 30 minutes", Mail.Kind.INVITATION: "for 7 days"}


def jobs() -> list[Job]:
    if folder := getattr(settings, "EMAIL_FILE_PATH", None):  # it will hold tokens
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        Job("mails", deliver_mails, every_seconds=1),
        Job("cleaning", clean, every_seconds=3600),
    ]


def deliver_mails() -> int:
    return deliver_due(Mail.objects.all(), send)


def send(mail: Mail) -> None:
    """Send one mail, or raise Skipped where there is nobody to send it to."""
    user = User.objects.filter(email_key=mail.email_key, is_active=True).first()
    if user is None:
        raise Skipped("no active account has this address")
    if Mail.objects.sent_lately_like(mail).exists():
        raise Skipped("the same was sent a moment ago")
    kind = Mail.Kind(mail.kind)
    mail_out = EmailMessage(
        subject=SUBJECTS[kind],
        body=text(user, kind, PasswordToken.objects.make(user, kind)),
        to=[user.email],
        headers={"Message-ID": f"<user-mail-{mail.pk}@{settings.MAIL_DOMAIN}>", "Auto-Submitted": "auto-generated"},
    )
    send_mail(mail_out)


def text(user: User, kind: Mail.Kind, token: str) -> str:
    return (
        f"Hello {user.username},\n\n{OPENINGS[kind]}\n\n{way(token)}\n\n"
        f"This works once and {VALIDITY[kind]}; then ask for another.\n"
    )


def way(token: str) -> str:
    """Say how to use the token: on the web page that PASSWORD_URL names, or else by the API itself."""
    if settings.PASSWORD_URL:
        return settings.PASSWORD_URL.replace("TOKEN", token)
    call = f"POST {settings.PUBLIC_URL}/user/password-reset/confirm/"
    return f'{call}\n{{"token": "{token}", "new_password": "..."}}'


def clean() -> None:
    """Forget what nobody needs any more."""
    now = timezone.now()
    Session.objects.expired().delete()
    PasswordToken.objects.filter(expires_at__lte=now).delete()
    Attempt.objects.forgotten().delete()
    KeptAnswer.objects.forget_old()
    Mail.objects.finished_before(now - KEPT).delete()
