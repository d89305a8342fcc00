"""What stands against a change of an account."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from django.db import IntegrityError, transaction

FIELDS = {"username_is_taken": "username", "email_is_taken": "email"}  # by the constraint that holds them unique


class NameTaken(Exception):
    """Another account has this `field`."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class AccountGone(Exception):
    """The account does not exist, has been deleted, or is not available to the caller."""


class WrongPassword(Exception):
    """The given password is not the current one."""


class NoPendingInvitation(Exception):
    """The account has a password already, or is not active."""


class LastAdmin(Exception):
    """The change would leave no active admin."""


@contextmanager
def translate_unique_violations() -> Iterator[None]:
    """Raise NameTaken for a violated unique constraint: a check beforehand would lose the race."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        field = FIELDS.get(violated_constraint(error))
        if field is None:
            raise
        raise NameTaken(field) from error


def violated_constraint(error: IntegrityError) -> str:
    """Return the violated constraint. The message would not do: it repeats the values, which users choose."""
    name = error.__cause__.diag.constraint_name if isinstance(error.__cause__, psycopg2.Error) else None
    return name or ""
