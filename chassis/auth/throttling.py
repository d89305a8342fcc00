"""Limits as DRF's throttles. Endpoint asks them before permissions, so that 401 and 403 are counted too."""

import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle

from chassis.auth import limits
from chassis.auth.client_address import client_address
from chassis.auth.limits import Allowance, Counted, Rate
from chassis.auth.signals import request_limited
from chassis.auth.tokens import Caller

if TYPE_CHECKING:  # DRF's settings import this module while rest_framework.views is still being imported
    from rest_framework.views import APIView

SIGNUP = "signup"
# A household or a server has at least this many bits of IPv6 to itself (RFC 6177 section 2).
IPV6_PREFIX_BITS = 64
# One customer may have up to a /48 (RFC 6177 section 2), which is 65,536 networks: they share a limit.
SITE_SCOPE = "anon-site"
SITE_PREFIX_BITS = 48
SITE_FACTOR = 10


class CallerThrottle(ScopedRateThrottle):
    """The caller's role is the scope. A request without a good token counts by address."""

    allowance: Allowance | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.user, Caller):
            return self.allow_address(request)
        rate = limits.rates().get(request.user.role)
        if rate is None:
            return True
        already = request.auth if isinstance(request.auth, Counted) else None
        counted = already or limits.count(f"user {request.user.id}", rate)
        return self.judge(request, Allowance(request.user.role, rate, counted))

    def allow_address(self, request: Request) -> bool:
        """Count by address and, if that is let in and IPv6, by site: one address cannot use up its site's limit."""
        rate = limits.rates().get(limits.ANON)
        if rate is None:
            return True
        address = client_address(request)
        counted = limits.count(f"address {network_of(address, IPV6_PREFIX_BITS)}", rate)
        admitted = self.judge(request, Allowance(limits.ANON, rate, counted))
        if not admitted or not is_ipv6(address):
            return admitted
        site_rate = Rate(SITE_FACTOR * rate.requests, rate.seconds)
        counted = limits.count(f"site {network_of(address, SITE_PREFIX_BITS)}", site_rate)
        return self.judge(request, Allowance(SITE_SCOPE, site_rate, counted))

    def judge(self, request: Request, allowance: Allowance) -> bool:
        self.allowance = allowance
        return admit(request, allowance)

    def wait(self) -> float | None:
        return self.allowance.wait_seconds if self.allowance else None


def admit(request: Request, allowance: Allowance) -> bool:
    allowances_of(request).append(allowance)
    if allowance.is_used_up:
        request_limited.send(allowance.scope, scope=allowance.scope)
    return not allowance.is_used_up


@contextmanager
def signup_budget(request: Request) -> Iterator[None]:
    """Spend one of the sign-ups that all callers share, or raise Throttled. What raises in the block gives it back.

    The block makes an account or plans a mail to a stranger. Whatever can be refused before must be: a refused request
    that spent the budget would let anybody keep everybody else out.
    """
    rate = limits.rates().get(SIGNUP)
    if rate is None:
        yield
        return
    allowance = Allowance(SIGNUP, rate, limits.count(SIGNUP, rate))
    if not admit(request, allowance):
        raise Throttled(allowance.wait_seconds, "Too many requests.")
    with ExitStack() as undo:
        undo.callback(give_back, request, allowance)
        yield
        undo.pop_all()


def give_back(request: Request, allowance: Allowance) -> None:
    allowance.given_back()
    allowances_of(request).remove(allowance)


def allowances_of(request: Request) -> list[Allowance]:
    """Return the list, on Django's own request, of what was counted: RateLimitMiddleware tells it."""
    allowances: list[Allowance] = request._request.__dict__.setdefault("allowances", [])
    return allowances


def is_ipv6(address: str | None) -> bool:
    return address is not None and ":" in address


def network_of(address: str | None, ipv6_prefix_bits: int) -> str:
    if not is_ipv6(address):
        return str(address)
    return str(ipaddress.ip_network(f"{address}/{ipv6_prefix_bits}", strict=False))
