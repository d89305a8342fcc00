"""Authentication and rate limits of every endpoint.

`enter` runs before permissions are checked, so that requests that get a 401 or 403 are counted too:

1. Authenticate. The view's authentication class verifies a token and looks up the caller.
2. Count. The statement that looked up the caller also counted the request (limits.CallerQuery); any other request is
   counted here, by account or, without a valid token, by address.
3. Reject. A request over a limit gets a 429; otherwise one with an invalid token gets a 401.

RateLimitMiddleware reports the counts in headers and refunds a 304.
"""

import ipaddress
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle

from chassis.auth import limits, tokens
from chassis.auth.client_address import client_address
from chassis.auth.limits import Allowance, CountedRequest, Rate
from chassis.auth.signals import request_limited
from chassis.auth.tokens import Caller, InvalidToken, ServiceCaller

if TYPE_CHECKING:  # DRF's settings import this module while rest_framework.views is still being imported
    from rest_framework.views import APIView

REALM = "tmservice"
# A household or a server usually has an IPv6 prefix of this length (RFC 6177 section 2).
IPV6_PREFIX_BITS = 64
# One customer may have up to a /48 (RFC 6177 section 2), which is 65,536 networks. They share a limit.
SITE_SCOPE = "anon-site"
SITE_PREFIX_BITS = 48
SITE_FACTOR = 10

log = logging.getLogger(__name__)


def enter(view: "APIView", request: Request) -> None:
    """Authenticate, count, and reject. An error of the service itself (5xx) is not counted."""
    try:
        view.perform_authentication(request)
    except APIException as error:
        if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            view.check_throttles(request)
        raise
    view.check_throttles(request)


class BearerAuthentication(BaseAuthentication):
    """An access token in the Authorization header (RFC 6750 section 2.1).

    A service with more data about its users than the token overrides `resolve`.
    """

    def authenticate(self, request: Request) -> tuple[Caller | ServiceCaller, None] | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        token = bearer_token(header)
        try:
            caller, counted = self.resolve(token)
        except InvalidToken as error:
            log.info("token refused: %s", error)
            raise AuthenticationFailed("The token is invalid or has expired.", code="token_invalid") from error
        record(request, caller, counted)
        return caller, None

    def resolve(self, token: str) -> tuple[Caller | ServiceCaller, CountedRequest | None]:
        """Return the current caller, and the count if the same statement counted; or raise InvalidToken."""
        return tokens.verify_access(token), None

    def authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="{REALM}"'


class ServiceAuthentication(BearerAuthentication):
    """Accepts tokens of other services, never those of users."""

    def resolve(self, token: str) -> tuple[ServiceCaller, None]:
        return tokens.verify_service(token), None


class CallerThrottle(ScopedRateThrottle):
    """Count the request unless authentication did, and reject it over a limit. The scope is the caller's role."""

    exhausted: Allowance | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        allowances = request_allowances(request)
        if not allowances:
            allowances.extend(count(request))
        self.exhausted = next((each for each in allowances if each.is_exhausted), None)
        if self.exhausted:
            request_limited.send(self.exhausted.scope, scope=self.exhausted.scope)
        return self.exhausted is None

    def wait(self) -> float | None:
        return self.exhausted.wait_seconds if self.exhausted else None


def count(request: Request) -> list[Allowance]:
    """Count by account, or by address and then, for allowed IPv6 requests, by site.

    Rejected requests do not count for the site, so one address cannot exhaust its limit."""
    rates = limits.rates()
    if isinstance(request.user, Caller):
        rate = rates.get(request.user.role)
        return [limits.spend(request.user.role, rate, f"user {request.user.id}")] if rate else []
    rate, address = rates.get(limits.ANON), client_address(request)
    if rate is None:
        return []
    by_address = limits.spend(limits.ANON, rate, f"address {network_prefix(address, IPV6_PREFIX_BITS)}")
    if by_address.is_exhausted or not is_ipv6(address):
        return [by_address]
    site_rate = Rate(SITE_FACTOR * rate.requests, rate.seconds)
    return [by_address, limits.spend(SITE_SCOPE, site_rate, f"site {network_prefix(address, SITE_PREFIX_BITS)}")]


def record(request: Request, caller: Caller | ServiceCaller, counted: CountedRequest | None) -> None:
    """Record the count that authentication took."""
    if counted and isinstance(caller, Caller) and (rate := limits.rates().get(caller.role)):
        request_allowances(request).append(Allowance(caller.role, rate, counted))


def request_allowances(request: Request) -> list[Allowance]:
    """Return the list of counted limits, stored on Django's request for RateLimitMiddleware."""
    allowances: list[Allowance] = request._request.__dict__.setdefault("allowances", [])
    return allowances


def bearer_token(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token or not token.isascii() or " " in token or "," in token:
        raise AuthenticationFailed("The Authorization header must be: Bearer <access token>.", code="token_invalid")
    return token


def is_ipv6(address: str | None) -> bool:
    return address is not None and ":" in address


def network_prefix(address: str | None, ipv6_prefix_bits: int) -> str:
    if not is_ipv6(address):
        return str(address)
    return str(ipaddress.ip_network(f"{address}/{ipv6_prefix_bits}", strict=False))
