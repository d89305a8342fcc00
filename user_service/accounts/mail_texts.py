"""What the mails say."""

from dataclasses import dataclass
from datetime import UTC

from django.conf import settings

from accounts.models import Mail, User
from chassis.worker.mailing import link

Kind = Mail.Kind


@dataclass(frozen=True, slots=True)
class TokenMail:
    """A mail that brings a token."""

    subject: str
    opening: str
    validity: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What has happened to an account. `by` stands in for the person where no known person did it."""

    subject: str
    fact: str
    by: str = ""


TOKEN_MAILS = {
    Kind.PASSWORD_RESET: TokenMail(
        "Choose a new password",
        "somebody, most likely you, has asked for a new password for your account. If it was not you, do nothing: your "
        "password stays as it is.",
        "for 30 minutes",
    ),
    Kind.INVITATION: TokenMail(
        "You have been given an account",
        "an account has been made for you. Choose a password to begin.",
        "for 7 days",
    ),
    Kind.EMAIL_CONFIRMATION: TokenMail(
        "Confirm your address",
        "somebody, most likely you, has given this address for an account. Please confirm it. If it was not you, do "
        "nothing: no other mails will come.",
        "for 24 hours",
    ),
}
NOTICES = {
    Kind.EMAIL_CHANGE_REQUESTED: Notice(
        "Another address for your account",
        "Another address was requested for your account. It replaces this one once it is confirmed. A new password "
        "cancels the change.",
    ),
    Kind.EMAIL_CHANGED: Notice(
        "The address of your account has changed",
        "Your account has another address now, and mails go there.",
    ),
    Kind.USERNAME_CHANGED: Notice(
        "The username of your account has changed",
        "Your account has another username now.",
    ),
    Kind.PASSWORD_CHANGED: Notice(
        "The password of your account has changed",
        "Your account has another password now, and all other sessions have ended.",
    ),
    Kind.PASSWORD_SET_BY_MAIL: Notice(
        "The password of your account has changed",
        "A new password was set with the token of a mail to this address, and all sessions have ended.",
        by="somebody who reads the mails to this address, most likely you",
    ),
    Kind.SESSIONS_ENDED: Notice(
        "You have been signed out everywhere",
        "All sessions of your account have ended.",
    ),
    Kind.SESSION_ENDED: Notice(
        "One of your sessions has been ended",
        "One of the sessions of your account has ended.",
    ),
    Kind.TOKEN_REUSED: Notice(
        "One of your sessions has been ended",
        "A refresh token of one of your sessions was used twice, so somebody else may have a copy of it. That session "
        "has ended.",
        by="the service itself",
    ),
    Kind.ACCOUNT_DEACTIVATED: Notice(
        "Your account has been deactivated",
        "Your account has been deactivated: all its sessions have ended, and nobody can sign in to it.",
    ),
}
SEVERAL_CHANGES = "Your account has changed"
BY_ADMIN, BY_OWNER = "an administrator", "yourself, or somebody who has signed in as you"
ASK_ADMIN = "If you did not expect this, ask an administrator."
TELL_ADMIN = "If it was not you, tell an administrator at once."
RESET_PASSWORD = "If it was not you, ask for a new password at once, as for a forgotten one, and tell an administrator."


def compose(mail: Mail, user: User, token: str | None) -> tuple[str, str]:
    """Return the subject and the text of a mail."""
    kinds = [Kind(kind) for kind in (mail.kind, *mail.also)]
    if letter := TOKEN_MAILS.get(kinds[0]):
        validity = f"This works once and {letter.validity}; then ask for another."
        return letter.subject, body_text(user, letter.opening, instructions(kinds[0], str(token)), validity)
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
    return TELL_ADMIN if Kind.EMAIL_CHANGED in kinds else RESET_PASSWORD  # a reset would go to the other address


def instructions(kind: Mail.Kind, token: str) -> str:
    """Say how to use the token: on the web page that is set for it, or else by the API itself."""
    if kind == Kind.EMAIL_CONFIRMATION:
        page, call, body = settings.CONFIRM_EMAIL_URL, "/user/email/confirm/", f'{{"token": "{token}"}}'
    else:
        body = f'{{"token": "{token}", "new_password": "..."}}'
        page, call = settings.PASSWORD_URL, "/user/password-reset/confirm/"
    return page.replace("TOKEN", token) if page else f"POST {link(call)}\n{body}"
