"""Errors that prevent a change of an account."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from django.db import IntegrityError, transaction

FIELD_BY_CONSTRAINT = {"username_is_taken": "username", "email_is_taken": "email"}


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
    """The account already has a password, or is not active."""


class LastAdmin(Exception):
    """The change would leave no active admin."""


@contextmanager
def translate_unique_violations() -> Iterator[None]:
    """Raise NameTaken for a violated unique constraint. A check beforehand would be a race."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        field = FIELD_BY_CONSTRAINT.get(violated_constraint(error))
        if field is None:
            raise
        raise NameTaken(field) from error


def violated_constraint(error: IntegrityError) -> str:
    """Return the name of the constraint from the driver: the message also contains values that users choose."""
    name = error.__cause__.diag.constraint_name if isinstance(error.__cause__, psycopg2.Error) else None
    return name or ""
