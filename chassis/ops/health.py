"""Liveness (the process responds) and readiness (it can serve), for containers, Render and scripts/run."""

import ipaddress
from collections.abc import Sequence
from hmac import compare_digest

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path

from chassis.api import problems
from chassis.auth.client_address import parse_ip
from chassis.ops.checks import Check, common_checks, examine_database

NOT_READY = "The service is not ready; try again shortly."  # only operators see the reason


def live(request: HttpRequest) -> HttpResponse:
    return method_not_allowed(request) or JsonResponse({"status": "ok"})


def ready(request: HttpRequest, checks: Sequence[Check]) -> HttpResponse:
    if error := method_not_allowed(request):
        return error
    problem, server = examine_database()
    explains = may_see_reasons(request)
    if problem or server is None:
        detail = problem if explains else NOT_READY
        return problems.problem_response(request, 503, "not_ready", detail, **problems.RETRY_AFTER)
    asked = [check for check in (*common_checks(server), *checks) if check.degrades]
    findings = [(check, check.find()) for check in asked]
    reasons = [f"{check.name}: {found.text}" for check, found in findings if found.state in check.degrades]
    if reasons:
        return JsonResponse({"status": "degraded"} | ({"reasons": reasons} if explains else {}))
    return JsonResponse({"status": "ok"})


def may_see_reasons(request: HttpRequest) -> bool:
    """Return whether the request has METRICS_TOKEN or comes from this machine, and not through a proxy on it."""
    address = parse_ip(request.META.get("REMOTE_ADDR", ""))
    is_local = address is not None and ipaddress.ip_address(address).is_loopback
    return (is_local and "X-Forwarded-For" not in request.headers) or has_metrics_token(request)


def has_metrics_token(request: HttpRequest) -> bool:
    sent = request.headers.get("Authorization", "")
    expected = f"Bearer {settings.METRICS_TOKEN}"
    return bool(settings.METRICS_TOKEN) and compare_digest(sent.encode(), expected.encode())


def method_not_allowed(request: HttpRequest) -> HttpResponse | None:
    if request.method in ("GET", "HEAD"):
        return None
    detail = f'Method "{request.method}" not allowed.'
    return problems.problem_response(request, 405, "method_not_allowed", detail, Allow="GET, HEAD")


def urls(prefix: str, *, checks: Sequence[Check]) -> list[URLPattern]:
    """Return the two routes. A degraded service can still serve, so its readiness is 200."""
    return [path(f"{prefix}/health/live/", live), path(f"{prefix}/health/ready/", ready, {"checks": checks})]
