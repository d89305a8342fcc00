"""Resolves assignees, and turns their errors into HTTP errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from rest_framework.exceptions import ErrorDetail, ValidationError

from chassis.api.problems import ServiceUnavailable, excerpt
from directory import accounts, client


def assignee_id(assignee: int | str, *, asked_by: int, current: int | None = None, field: str = "assigned_to") -> int:
    """Return the id of an account, given by id or username, if tasks can be assigned to it.

    The `current` assignee may stay and is not looked up.
    """
    with assignee_errors(assignee, field=field):
        user_id = accounts.find_id_by_username(assignee) if isinstance(assignee, str) else assignee
        if user_id != current:
            accounts.require_assignable(user_id, asked_by=asked_by)
    return user_id


@contextmanager
def assignee_errors(assignee: int | str | None, *, field: str = "assigned_to") -> Iterator[None]:
    """Turn an unknown or inactive assignee into 400 and an unreachable user service into 503."""
    user = f"user {assignee}" if not isinstance(assignee, str) else f"user named {excerpt(assignee)!r}"
    try:
        yield
    except accounts.UnknownUser as error:
        raise invalid_assignee(field, f"There is no {user}.", "unknown_user") from error
    except accounts.InactiveUser as error:
        raise invalid_assignee(field, f"The account of {user} is not active.", "inactive_user") from error
    except client.DirectoryUnavailable as error:
        raise ServiceUnavailable("The assignee cannot be looked up at the moment; try again shortly.") from error


def invalid_assignee(field: str, detail: str, code: str) -> ValidationError:
    return ValidationError({field: [ErrorDetail(detail, code=code)]})
