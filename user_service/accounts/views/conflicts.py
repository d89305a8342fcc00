from collections.abc import Iterator
from contextlib import contextmanager

from django.http import Http404
from rest_framework.exceptions import ErrorDetail, Throttled, ValidationError

from accounts.models import AccountGone, LastAdmin, NameTaken, NoPendingInvitation, TooManyFailures, WrongPassword
from chassis.api.problems import Conflict


@contextmanager
def as_http_errors() -> Iterator[None]:
    """Translate errors that prevent a change of an account into HTTP errors."""
    try:
        yield
    except NameTaken as error:
        raise Conflict({error.field: [ErrorDetail("Is taken.", code="taken")]}) from error
    except AccountGone as error:
        raise Http404 from error
    except NoPendingInvitation as error:
        raise Conflict("No invitation is pending: the account has a password or is not active.") from error
    except LastAdmin as error:
        raise Conflict("The last active admin cannot be deleted, demoted or deactivated.") from error


@contextmanager
def as_password_errors() -> Iterator[None]:
    """Translate errors of the current password into HTTP errors."""
    try:
        yield
    except WrongPassword as error:
        detail = ErrorDetail("Is not the current password.", code="wrong_password")
        raise ValidationError({"current_password": [detail]}) from error
    except TooManyFailures as error:
        raise too_many_failures(error) from error


def too_many_failures(error: TooManyFailures) -> Throttled:
    return Throttled(error.wait_seconds, "Too many failed attempts.", code="too_many_failures")
