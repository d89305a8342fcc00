"""Rules for usernames and addresses, and the forms by which they are compared."""

import re
import unicodedata

from django.core.exceptions import ValidationError

from chassis.addresses import is_address, normalize

# ASCII, so that no name looks like another; no "@", since users can also sign in by email.
USERNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?")
RESERVED = frozenset(
    {
        "admin",
        "administrator",
        "anonymous",
        "api",
        "internal",
        "me",
        "none",
        "null",
        "root",
        "security",
        "support",
        "system",
    }
)


def fold(name: str) -> str:
    """Return the form in which all spellings of a name are equal (NFKC, then casefold)."""
    return unicodedata.normalize("NFKC", name).casefold()


def login_key(login: str) -> str:
    """Return the key of a username or address, as stored."""
    return fold(normalize(login)) if "@" in login else fold(login)


def to_mailbox(address: str) -> str:
    """Return the folded mailbox of an address: mail to name+anything@ goes to name@."""
    local, _, domain = fold(address).rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def validate_username(name: str) -> None:
    if not USERNAME.fullmatch(name):
        raise ValidationError(
            "Must be 1 to 64 characters: letters a to z, digits, dot, hyphen or underscore, beginning with a letter "
            "or digit and not ending with a dot or hyphen.",
            code="invalid",
        )


def validate_email(address: str) -> None:
    if not address.isascii():
        raise ValidationError(
            "Must be ASCII before the @. If the domain is the problem, write it as xn--...",
            code="invalid",
        )
    if not is_address(address):
        raise ValidationError(
            "Must be an address such as name@example.com, with at most 64 characters before the @, and no quotes, "
            "comments, = or ?.",
            code="invalid",
        )


def check_not_reserved(name: str) -> None:
    if fold(name) in RESERVED:
        raise ValidationError("This name is reserved.", code="reserved")
