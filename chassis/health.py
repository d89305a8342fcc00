"""Liveness (the process answers) and readiness (it can do its work), for containers, Render and scripts/run."""

from collections.abc import Callable, Iterable

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path

from chassis import problems

Concerns = Callable[[], Iterable[str]]


def live(request: HttpRequest) -> HttpResponse:
    return not_a_read(request) or JsonResponse({"status": "ok"})


def ready(request: HttpRequest, concerns: Concerns) -> HttpResponse:
    if refusal := not_a_read(request):
        return refusal
    if reason := not_ready_because():
        return problems.answer(request, 503, "not_ready", reason, **{"Retry-After": "2"})
    if late := list(concerns()):
        return JsonResponse({"status": "degraded", "because": late})
    return JsonResponse({"status": "ok"})


def not_a_read(request: HttpRequest) -> HttpResponse | None:
    if request.method in ("GET", "HEAD"):
        return None
    detail = f'Method "{request.method}" not allowed.'
    return problems.answer(request, 405, "method_not_allowed", detail, Allow="GET, HEAD")


def not_ready_because() -> str | None:
    """Return what only the database can tell, as a sentence, or None when all is well."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            (is_superuser,) = cursor.fetchone()
        if is_superuser:
            return "The database role is a superuser; use one that owns this service's schema and nothing else."
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error:
        return "The database cannot be reached."
    if waiting:
        return f"Migrations are not applied ({len(waiting)}, the first {waiting[0][0]}); run: manage.py migrate"
    return None


def urls(prefix: str, *, concerns: Concerns) -> list[URLPattern]:
    """Return the two routes. `concerns` tells, in sentences, what is late though requests are served: still a 200."""
    return [path(f"{prefix}/health/live/", live), path(f"{prefix}/health/ready/", ready, {"concerns": concerns})]
