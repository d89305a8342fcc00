"""Liveness (the process answers) and readiness (it can do its work), for containers, Render and scripts/run."""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone

from chassis import refused_writes
from chassis.api import problems
from chassis.auth.client_address import address_in
from chassis.ops.findings import manage

Concerns = Callable[[], Iterable[str]]

NOT_READY = "The service is not ready; try again shortly."  # the reason is for those who run it
# From 5 s on requests count as having waited too long (OverdueMiddleware), from 30 s on tokens are refused.
MOST_CLOCK_DIFFERENCE = timedelta(seconds=2)
REFUSED_WRITE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Database:
    """What asking the database tells: why it cannot be used, as a sentence, or how far its clock is from ours."""

    refusal: str | None
    clock_difference: timedelta = timedelta(0)

    def concerns(self) -> Iterator[str]:
        if self.clock_difference > MOST_CLOCK_DIFFERENCE:
            apart = f"{self.clock_difference.total_seconds():.0f} seconds"
            yield f"The clocks of this machine and of the database are {apart} apart; does each follow a time server?"
        if (age := refused_writes.age_seconds()) < REFUSED_WRITE_SECONDS:
            yield f"The database refused to store something {age:.0f} s ago; is its disk full, or is it read-only?"


class Schema:
    """Which migrations the database lacks. To load all of them takes long, so none is looked for once all were there:
    a process keeps its code, and no migration is ever taken back under it."""

    def __init__(self) -> None:
        self.is_complete = False

    def missing(self) -> list[tuple[str, str]]:
        if self.is_complete:
            return []
        loader = MigrationLoader(connection)
        missing = sorted(set(loader.graph.nodes) - set(loader.applied_migrations))
        self.is_complete = not missing
        return missing


SCHEMA = Schema()


def live(request: HttpRequest) -> HttpResponse:
    return not_a_read(request) or JsonResponse({"status": "ok"})


def ready(request: HttpRequest, concerns: Concerns) -> HttpResponse:
    if refusal := not_a_read(request):
        return refusal
    database = ask_database()
    explains = may_know_reasons(request)
    if database.refusal:
        detail = database.refusal if explains else NOT_READY
        return problems.answer(request, 503, "not_ready", detail, **problems.RETRY_AFTER)
    if because := [*database.concerns(), *concerns()]:
        return JsonResponse({"status": "degraded"} | ({"because": because} if explains else {}))
    return JsonResponse({"status": "ok"})


def may_know_reasons(request: HttpRequest) -> bool:
    """Tell whether the request comes straight from this machine, not through a proxy on it, or has METRICS_TOKEN."""
    address = address_in(request.META.get("REMOTE_ADDR", ""))
    is_local = address is not None and ipaddress.ip_address(address).is_loopback
    return (is_local and "X-Forwarded-For" not in request.headers) or has_metrics_token(request)


def has_metrics_token(request: HttpRequest) -> bool:
    sent = request.headers.get("Authorization", "")
    expected = f"Bearer {settings.METRICS_TOKEN}"
    return bool(settings.METRICS_TOKEN) and compare_digest(sent.encode(), expected.encode())


def not_a_read(request: HttpRequest) -> HttpResponse | None:
    if request.method in ("GET", "HEAD"):
        return None
    detail = f'Method "{request.method}" not allowed.'
    return problems.answer(request, 405, "method_not_allowed", detail, Allow="GET, HEAD")


def ask_database() -> Database:
    try:
        with connection.cursor() as cursor:
            before = timezone.now()
            cursor.execute("SELECT rolsuper, clock_timestamp() FROM pg_roles WHERE rolname = current_user")
            is_superuser, theirs = cursor.fetchone()
            after = timezone.now()
        if is_superuser:
            return Database("The database role is a superuser; use one that serves this schema and nothing else.")
        waiting = SCHEMA.missing()
    except Error:
        return Database("The database cannot be reached.")
    if waiting:
        first = ".".join(waiting[0])
        return Database(f"Migrations are not applied ({len(waiting)}, such as {first}); run: {manage('migrate')}")
    # However long the way there and back was, it is not a difference.
    return Database(None, clock_difference=max(before - theirs, theirs - after, timedelta(0)))


def urls(prefix: str, *, concerns: Concerns) -> list[URLPattern]:
    """Return the two routes. `concerns` tells, in sentences, what is late though requests are served: still a 200."""
    return [path(f"{prefix}/health/live/", live), path(f"{prefix}/health/ready/", ready, {"concerns": concerns})]
