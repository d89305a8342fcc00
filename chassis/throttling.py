"""Limits as DRF's throttles. Endpoint asks them before permissions, so that 401 and 403 are counted too."""

import ipaddress
from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle

from chassis import limits
from chassis.client_address import client_address
from chassis.limits import Allowance, Counted
from chassis.metrics import count_limited
from chassis.tokens import Caller

if TYPE_CHECKING:  # DRF's settings import this module while rest_framework.views is still being imported
    from rest_framework.views import APIView

NEWCOMERS = "newcomers"
# A household or a server has at least this many bits of IPv6 to itself (RFC 6177 section 2).
IPV6_PREFIX_BITS = 64


class CallerThrottle(ScopedRateThrottle):
    """The caller's role is the scope. Who has not signed in, or not with a token that is good, counts by address."""

    allowance: Allowance | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        scope = scope_of(request)
        rate = limits.rates().get(scope)
        if rate is None:
            return True
        already = request.auth if isinstance(request.auth, Counted) else None
        return self.judge(request, Allowance(scope, rate, already or limits.count(key_of(request), rate)))

    def judge(self, request: Request, allowance: Allowance) -> bool:
        self.allowance = allowance
        allowances_of(request).append(allowance)
        if allowance.is_used_up:
            count_limited(allowance.scope)
        return not allowance.is_used_up

    def wait(self) -> float | None:
        return self.allowance.wait_seconds if self.allowance else None


class NewcomersThrottle(CallerThrottle):
    """One limit for all together who have not signed in, on routes that make accounts or send mails to strangers."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        rate = limits.rates().get(NEWCOMERS)
        refused_already = any(allowance.is_used_up for allowance in allowances_of(request))
        if rate is None or refused_already or isinstance(request.user, Caller):
            return True
        return self.judge(request, Allowance(NEWCOMERS, rate, limits.count(NEWCOMERS, rate)))


def allowances_of(request: Request) -> list[Allowance]:
    """Return the list, on Django's own request, of what was counted: RateLimitMiddleware tells it."""
    allowances: list[Allowance] = request._request.__dict__.setdefault("allowances", [])
    return allowances


def scope_of(request: Request) -> str:
    return request.user.role if isinstance(request.user, Caller) else limits.ANON


def key_of(request: Request) -> str:
    if isinstance(request.user, Caller):
        return f"user {request.user.id}"
    return f"address {network_of(client_address(request))}"


def network_of(address: str | None) -> str:
    if address is None or ":" not in address:
        return str(address)
    return str(ipaddress.ip_network(f"{address}/{IPV6_PREFIX_BITS}", strict=False))
