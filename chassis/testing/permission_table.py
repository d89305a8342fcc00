"""The tables of docs/permissions.md as data, and helpers to test them. A call is "GET /task/tasks/"."""

import re
from itertools import dropwhile, takewhile
from pathlib import Path

from django.apps import apps
from django.urls import URLResolver, get_resolver
from rest_framework.test import APIClient

DOCUMENT = Path(__file__).parents[2] / "docs" / "permissions.md"
TABLED_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
ALL_METHODS = TABLED_METHODS | {"OPTIONS", "TRACE"}
REFUSALS = {401, 403, 404}


def table(heading):
    """Return {call: {caller: status}} of the first table below a heading."""
    _, section = DOCUMENT.read_text().split(f"\n{heading}\n")
    from_table = dropwhile(lambda line: not line.startswith("|"), section.splitlines())
    lines = takewhile(lambda line: line.startswith("|"), from_table)
    (_, *callers), _, *rows = ([cell.strip() for cell in line.replace("`", "").strip("|").split("|")] for line in lines)
    found = {call: dict(zip(callers, map(int, statuses), strict=True)) for call, *statuses in rows}
    assert len(found) == len(rows), f"a call appears twice below {heading}"
    return found


def cells(rows):
    return [(call, caller, status) for call, row in rows.items() for caller, status in row.items()]


def methods_by_route(rows):
    found = {}
    for call in rows:
        method, route = call.split()
        found.setdefault(route, set()).add(method)
    return found


def routed_calls():
    """Return every call that this service routes."""
    views = routed_views(get_resolver().url_patterns)
    return {f"{method} {route}" for route, view in views for method in view_methods(route, view)}


def routed_views(patterns, prefix="/"):
    for pattern in patterns:
        route = prefix + format_route(str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routed_views(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def format_route(pattern):
    return re.sub(r"<id:\w+>", "{id}", pattern)


def view_methods(route, view):
    """Return the methods of a view class; a plain function has to be called."""
    if view_class := getattr(view, "view_class", None):
        return {name.upper() for name in view_class.http_method_names if hasattr(view_class, name)} & TABLED_METHODS
    anonymous, path = APIClient(), route.replace("{id}", "1")
    return {method for method in TABLED_METHODS if anonymous.generic(method, path).status_code != 405}


def send(client, call, *, id_, body):
    method, route = call.split()
    return read(getattr(client, method.lower())(route.replace("{id}", str(id_)), body))


def read(answer):
    """Read a response to its end: until then a streamed one has an open transaction."""
    answer.getvalue()
    return answer


def as_head(answer):
    """Return the response to the same request as HEAD."""
    request = answer.wsgi_request
    headers = {name: value for name, value in request.headers.items() if name == "Authorization"}
    return read(APIClient().head(request.get_full_path(), headers=headers))


def served_callers(rows, route):
    """Return the kinds of callers that a route serves, in the order of the columns; all if it serves none."""
    served = [row for call, row in rows.items() if call.split()[1] == route]
    return [kind for kind in served[0] if any(row[kind] not in (401, 403, 404) for row in served)] or list(served[0])


def rows_of_all_tables():
    return {model: list(model._base_manager.order_by("pk").values()) for model in apps.get_models()}


def response_content(answer):
    """Return status, body and headers of a response, without what identifies the request."""
    body = {name: value for name, value in answer.json().items() if name not in ("instance", "request_id")}
    headers = {name: value for name, value in answer.headers.items() if name not in ("X-Request-ID", "Content-Length")}
    return answer.status_code, body, headers
