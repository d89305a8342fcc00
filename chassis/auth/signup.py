"""The limit shared by all sign-ups."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rest_framework.exceptions import Throttled
from rest_framework.request import Request

from chassis.auth import limits
from chassis.auth.gate import request_allowances
from chassis.auth.limits import Allowance
from chassis.auth.signals import request_limited

SIGNUP = "signup"


@contextmanager
def signup_budget(request: Request) -> Iterator[None]:
    """Spend one sign-up of the shared budget, or raise Throttled. An exception in the block refunds it.

    The block creates an account or plans a mail to a stranger. Validate everything before it: if invalid requests spent
    the budget, anyone could lock out everyone else.
    """
    rate = limits.rates().get(SIGNUP)
    if rate is None:
        yield
        return
    allowance = limits.spend(SIGNUP, rate, SIGNUP)
    request_allowances(request).append(allowance)
    if allowance.is_exhausted:
        request_limited.send(SIGNUP, scope=SIGNUP)
        raise Throttled(allowance.wait_seconds, "Too many requests.")
    with ExitStack() as undo:
        undo.callback(refund, request, allowance)
        yield
        undo.pop_all()


def refund(request: Request, allowance: Allowance) -> None:
    allowance.refund()
    request_allowances(request).remove(allowance)
