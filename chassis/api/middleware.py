"""Middleware of both services."""

import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import is_valid_path
from django.utils.cache import patch_vary_headers

from chassis.api import etags, problems
from chassis.auth.client_address import comes_from_gateway
from chassis.auth.limits import Allowance

GetResponse = Callable[[HttpRequest], HttpResponse]

MAX_WAIT_SECONDS = 5
HEALTH = re.compile("/[a-z]+/health/(live|ready)/?")
CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'"

log = logging.getLogger(__name__)


class RateLimitMiddleware:
    """Add the RateLimit headers. Refund the request if it is a 304 for a specific entity tag."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        allowances: list[Allowance] = getattr(request, "allowances", [])
        names_a_tag = not etags.is_any(request.headers.get("If-None-Match", ""))
        if response.status_code == HTTPStatus.NOT_MODIFIED and names_a_tag:
            allowances = [refund(each) for each in allowances]
        if allowances:
            response["RateLimit-Policy"] = ", ".join(each.policy for each in allowances)
            response["RateLimit"] = ", ".join(each.state for each in allowances)
        return response


def refund(allowance: Allowance) -> Allowance:
    try:
        return allowance.refund_not_modified()
    except (OperationalError, InterfaceError) as error:  # the response is ready and must not be lost
        log.warning("a 304 was not refunded: %s", error)
        return allowance


class OverdueMiddleware:
    """Reject requests that waited so long for this process that the client may have given up.

    The gateway sends the arrival time; the header is not trusted from others. Time before the start of this process
    does not count, because a restart is no overload.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.ready_at = time.time()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if time.time() - max(received_at(request), self.ready_at) > MAX_WAIT_SECONDS:
            detail = "The service is overloaded; try again shortly."
            return problems.problem_response(request, 503, "overloaded", detail, **{"Retry-After": "2"})
        return self.get_response(request)


def received_at(request: HttpRequest) -> float:
    sent = re.fullmatch(r"t=([0-9]{1,12}\.[0-9]{3})", request.headers.get("X-Request-Start", ""))
    if sent is None or not comes_from_gateway(request):
        return time.time()
    return float(sent[1])


class AllowedHostMiddleware:
    """Accept only ALLOWED_HOSTS: Django checks the Host header only in get_host(), which no view calls.

    Health checks accept any host, because container platforms call them by IP address.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not HEALTH.fullmatch(request.path_info):
            request.get_host()  # raises DisallowedHost, which becomes a 400
        return self.get_response(request)


class PlainPathMiddleware:
    """Serve each path in one spelling: routes are plain ASCII, so a percent-encoded path is a 404.

    Django only has the decoded path; gunicorn keeps the original with its query, which may be encoded.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.META.get("RAW_URI") or request.META.get("REQUEST_URI", "")
        if "%" in sent.partition("?")[0]:
            return problems.not_found(request, Http404())
        return self.get_response(request)


class OptionalSlashMiddleware:
    """Serve /task/tasks exactly as /task/tasks/, whatever the method: a redirect would drop a POST's body."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.endswith("/") and is_valid_path(f"{request.path_info}/"):
            request.path_info += "/"
        return self.get_response(request)


class PrivateResponseMiddleware:
    """Keep responses out of shared caches, because they depend on the caller (RFC 9111 section 3.5)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Cache-Control", "no-store")
        response.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        patch_vary_headers(response, ["Authorization"])
        return response
