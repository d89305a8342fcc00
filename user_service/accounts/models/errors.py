"""What stands against a change of an account."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction


class NameTaken(Exception):
    """Another account has this `field`."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class AccountGone(Exception):
    """The account does not exist, has been deleted, or is not available to the caller."""


class WrongPassword(Exception):
    """The given password is not the current one."""


class NoOpenInvitation(Exception):
    """The account has a password already, or is not active."""


class LastAdmin(Exception):
    """The change would leave no active admin."""


@contextmanager
def naming_what_is_taken() -> Iterator[None]:
    """Raise NameTaken where a unique constraint is violated: a check beforehand would lose the race."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        for field in ("username", "email"):
            if f"{field}_is_taken" in str(error):
                raise NameTaken(field) from error
        raise
