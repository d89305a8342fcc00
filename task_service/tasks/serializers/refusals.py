"""What stands against an assignee, as an answer."""

from collections.abc import Iterator
from contextlib import contextmanager

from rest_framework.exceptions import ErrorDetail, ValidationError

from chassis.problems import ServiceUnavailable
from directory import accounts, client


@contextmanager
def assignee_refused(user_id: int | None, *, field: str = "assigned_to") -> Iterator[None]:
    """Say what stands against assigning to this user: unknown or inactive is 400, nobody to ask is 503."""
    try:
        yield
    except accounts.UnknownUser as error:
        raise wrong_assignee(field, f"There is no user {user_id}.", "unknown_user") from error
    except accounts.InactiveUser as error:
        raise wrong_assignee(field, f"The account of user {user_id} is not active.", "inactive_user") from error
    except client.DirectoryUnavailable as error:
        raise ServiceUnavailable("The assignee cannot be looked up at the moment; try again shortly.") from error


def wrong_assignee(field: str, detail: str, code: str) -> ValidationError:
    return ValidationError({field: [ErrorDetail(detail, code=code)]})
