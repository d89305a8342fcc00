"""What the mails say."""

from dataclasses import dataclass

from django.conf import settings

from accounts.models import Mail, User

ASK_FOR_HELP = "If it was not you, change your password at once and tell whoever runs this service."


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    opening: str
    validity: str = ""  # of the token in it; empty where there is none


LETTERS = {
    Mail.Kind.PASSWORD_RESET: Letter(
        "Choose a new password",
        "somebody, most likely you, has asked for a new password for your account. If it was not you, do nothing: your "
        "password stays as it is.",
        "for 30 minutes",
    ),
    Mail.Kind.INVITATION: Letter(
        "You have been given an account",
        "an account has been made for you. Choose a password to begin.",
        "for 7 days",
    ),
    Mail.Kind.EMAIL_CONFIRMATION: Letter(
        "Confirm your address",
        "somebody, most likely you, has given this address for an account. Please confirm it. If it was not you, do "
        "nothing: no other mails will come.",
        "for 24 hours",
    ),
    Mail.Kind.EMAIL_CHANGE_REQUESTED: Letter(
        "Another address for your account",
        "somebody, most likely you, has asked for another address for your account. It takes the place of this one "
        f"when it is confirmed. {ASK_FOR_HELP} A new password cancels the change.",
    ),
    Mail.Kind.EMAIL_CHANGED: Letter(
        "The address of your account has changed",
        f"your account has another address now, and mails go there. {ASK_FOR_HELP}",
    ),
    Mail.Kind.USERNAME_CHANGED: Letter(
        "The username of your account has changed",
        f"the username of your account has changed. {ASK_FOR_HELP}",
    ),
}


def text(user: User, kind: Mail.Kind, token: str | None) -> str:
    letter = LETTERS[kind]
    paragraphs = [f"Hello {user.username},", letter.opening]
    if token:
        paragraphs += [way(kind, token), f"This works once and {letter.validity}; then ask for another."]
    return "\n\n".join(paragraphs) + "\n"


def way(kind: Mail.Kind, token: str) -> str:
    """Say how to use the token: on the web page that is set for it, or else by the API itself."""
    if kind == Mail.Kind.EMAIL_CONFIRMATION:
        page, call, body = settings.CONFIRM_EMAIL_URL, "/user/email/confirm/", f'{{"token": "{token}"}}'
    else:
        body = f'{{"token": "{token}", "new_password": "..."}}'
        page, call = settings.PASSWORD_URL, "/user/password-reset/confirm/"
    return page.replace("TOKEN", token) if page else f"POST {settings.PUBLIC_URL}{call}\n{body}"
