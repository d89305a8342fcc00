"""Subjects and texts of the mails."""

from dataclasses import dataclass
from datetime import UTC

from django.conf import settings

from accounts.models import Mail, User
from chassis.worker.mailing import link

Kind = Mail.Kind


@dataclass(frozen=True, slots=True)
class TokenMail:
    """A mail with a token."""

    subject: str
    opening: str
    validity: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail about a change of an account. `by` replaces the actor where no known user made the change."""

    subject: str
    fact: str
    by: str = ""


TOKEN_MAILS = {
    Kind.PASSWORD_RESET: TokenMail(
        "Choose a new password",
        "Someone, probably you, requested a new password for your account. If it was not you, ignore this mail: your "
        "password stays unchanged.",
        "for 30 minutes",
    ),
    Kind.INVITATION: TokenMail(
        "You have been given an account",
        "An account was created for you. Choose a password to begin.",
        "for 7 days",
    ),
    Kind.EMAIL_CONFIRMATION: TokenMail(
        "Confirm your address",
        "Someone, probably you, entered this address for an account. Please confirm it. If it was not you, ignore this "
        "mail: you will get no others.",
        "for 24 hours",
    ),
}
NOTICES = {
    Kind.EMAIL_CHANGE_REQUESTED: Notice(
        "A new address for your account",
        "A new address was requested for your account. It replaces this one when it is confirmed. A new password "
        "cancels the change.",
    ),
    Kind.EMAIL_CHANGED: Notice(
        "The address of your account has changed",
        "Your account has a new address now, and mails go there.",
    ),
    Kind.USERNAME_CHANGED: Notice(
        "The username of your account has changed",
        "Your account has a new username now.",
    ),
    Kind.PASSWORD_CHANGED: Notice(
        "The password of your account has changed",
        "Your account has a new password now, and all other sessions have ended.",
    ),
    Kind.PASSWORD_SET_BY_MAIL: Notice(
        "The password of your account has changed",
        "A new password was set with the token from a mail to this address, and all sessions have ended.",
        by="someone who can read the mails to this address, probably you",
    ),
    Kind.SESSIONS_ENDED: Notice(
        "You have been signed out everywhere",
        "All sessions of your account have ended.",
    ),
    Kind.SESSION_ENDED: Notice(
        "One of your sessions has been ended",
        "A session of your account has ended.",
    ),
    Kind.TOKEN_REUSED: Notice(
        "One of your sessions has been ended",
        "A refresh token of one of your sessions was used twice, so someone else may have a copy of it. That session "
        "has ended.",
        by="the service",
    ),
    Kind.ACCOUNT_DEACTIVATED: Notice(
        "Your account has been deactivated",
        "Your account has been deactivated. All its sessions have ended, and nobody can sign in to it.",
    ),
}
SEVERAL_CHANGES = "Your account has changed"
BY_ADMIN, BY_OWNER = "an administrator", "you, or someone who is signed in as you"
ASK_ADMIN = "If you did not expect this, ask an administrator."
TELL_ADMIN = "If it was not you, tell an administrator at once."
RESET_PASSWORD = "If it was not you, reset your password at once and tell an administrator."


def compose(mail: Mail, user: User, token: str | None) -> tuple[str, str]:
    """Return the subject and the body."""
    kinds = [Kind(kind) for kind in (mail.kind, *mail.also)]
    if token_mail := TOKEN_MAILS.get(kinds[0]):
        validity = f"This works once and {token_mail.validity}. After that, request another."
        return token_mail.subject, body_text(user, token_mail.opening, instructions(kinds[0], str(token)), validity)
    notices = [NOTICES[kind] for kind in kinds]
    subject = notices[0].subject if len(notices) == 1 else SEVERAL_CHANGES
    return subject, body_text(
        user, *(notice.fact for notice in notices), when_and_by(mail, notices), advice(mail, kinds)
    )


def body_text(user: User, *paragraphs: str) -> str:
    return "\n\n".join([f"Hello {user.username},", *paragraphs]) + "\n"


def when_and_by(mail: Mail, notices: list[Notice]) -> str:
    by = notices[0].by or (BY_ADMIN if mail.by_admin else BY_OWNER)
    return f"When: {mail.planned_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC\nBy: {by}"


def advice(mail: Mail, kinds: list[Mail.Kind]) -> str:
    if mail.by_admin:
        return ASK_ADMIN
    return TELL_ADMIN if Kind.EMAIL_CHANGED in kinds else RESET_PASSWORD  # a reset would go to the new address


def instructions(kind: Mail.Kind, token: str) -> str:
    """Return the link to the web page that takes the token or, if none is configured, the API call."""
    if kind == Kind.EMAIL_CONFIRMATION:
        page, call, body = settings.CONFIRM_EMAIL_URL, "/user/email/confirm/", f'{{"token": "{token}"}}'
    else:
        body = f'{{"token": "{token}", "new_password": "..."}}'
        page, call = settings.PASSWORD_URL, "/user/password-reset/confirm/"
    return page.replace("TOKEN", token) if page else f"POST {link(call)}\n{body}"
