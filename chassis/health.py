"""Liveness (the process answers) and readiness (it can do its work), for containers, Render and scripts/run."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone

from chassis import problems

Concerns = Callable[[], Iterable[str]]

MOST_CLOCK_DIFFERENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Database:
    """What asking the database tells: why it cannot be used, as a sentence, or how far its clock is from ours."""

    refusal: str | None
    clock_difference: timedelta = timedelta(0)

    def concerns(self) -> Iterator[str]:
        if self.clock_difference > MOST_CLOCK_DIFFERENCE:
            apart = f"{self.clock_difference.total_seconds():.0f} seconds"
            yield f"The clocks of this machine and of the database are {apart} apart; does each follow a time server?"


def live(request: HttpRequest) -> HttpResponse:
    return not_a_read(request) or JsonResponse({"status": "ok"})


def ready(request: HttpRequest, concerns: Concerns) -> HttpResponse:
    if refusal := not_a_read(request):
        return refusal
    database = ask_database()
    if database.refusal:
        return problems.answer(request, 503, "not_ready", database.refusal, **{"Retry-After": "2"})
    if because := [*database.concerns(), *concerns()]:
        return JsonResponse({"status": "degraded", "because": because})
    return JsonResponse({"status": "ok"})


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
        loader = MigrationLoader(connection)
        waiting = sorted(set(loader.graph.nodes) - set(loader.applied_migrations))
    except Error:
        return Database("The database cannot be reached.")
    if waiting:
        first = ".".join(waiting[0])
        return Database(f"Migrations are not applied ({len(waiting)}, such as {first}); run: manage.py migrate")
    # However long the way there and back was, it is not a difference.
    return Database(None, clock_difference=max(before - theirs, theirs - after, timedelta(0)))


def urls(prefix: str, *, concerns: Concerns) -> list[URLPattern]:
    """Return the two routes. `concerns` tells, in sentences, what is late though requests are served: still a 200."""
    return [path(f"{prefix}/health/live/", live), path(f"{prefix}/health/ready/", ready, {"concerns": concerns})]
