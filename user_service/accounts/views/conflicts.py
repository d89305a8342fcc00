from collections.abc import Iterator
from contextlib import contextmanager

from django.http import Http404
from rest_framework.exceptions import ErrorDetail, Throttled, ValidationError

from accounts.models import AccountGone, LastAdmin, NameTaken, NoPendingInvitation, TooManyFailures, WrongPassword
from chassis.api.problems import Conflict


@contextmanager
def as_http_errors() -> Iterator[None]:
    """Raise the HTTP error for whatever prevents a change of an account."""
    try:
        yield
    except NameTaken as error:
        raise Conflict({error.field: [ErrorDetail("Is taken.", code="taken")]}) from error
    except AccountGone as error:
        raise Http404 from error
    except NoPendingInvitation as error:
        raise Conflict("There is no open invitation: the account has a password, or is not active.") from error
    except LastAdmin as error:
        raise Conflict("The last active admin can be neither deleted, demoted nor deactivated.") from error


@contextmanager
def as_password_errors() -> Iterator[None]:
    """Answer what stands against a change that needs the current password."""
    try:
        yield
    except WrongPassword as error:
        detail = ErrorDetail("Is not the current password.", code="wrong_password")
        raise ValidationError({"current_password": [detail]}) from error
    except TooManyFailures as error:
        raise too_many_failures(error) from error


def too_many_failures(error: TooManyFailures) -> Throttled:
    return Throttled(error.wait_seconds, "Too many failed attempts.", code="too_many_failures")
