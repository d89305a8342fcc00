"""Checks every response in tests against the OpenAPI document."""

from functools import cache

from django.test.client import Client

from chassis.testing.openapi_document import Document
from chassis.testing.permission_table import format_route

UNSUPPORTED_METHOD_STATUSES = {400, 401, 403, 404, 405, 429, 503}
NAMED_HEADERS = (
    *("ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate"),
    *("X-Request-ID", "Content-Disposition"),
)


@cache
def get_document(documentation):
    return Document(documentation)


def watch(documentation, monkeypatch):
    """Collect undocumented responses during a test, from any client and thread, and fail it at the end."""
    wrong, request = set(), Client.request

    def watched(client, **kwargs):
        answer = request(client, **kwargs)
        wrong.update(undocumented(get_document(documentation), answer))
        return answer

    monkeypatch.setattr(Client, "request", watched)
    yield
    assert not wrong, "\n".join(sorted(wrong))


def undocumented(document, answer):
    """Yield how a response differs from the document. A 500 is a bug, so it is not documented."""
    sent = answer.wsgi_request
    if sent.resolver_match is None or answer.status_code == 500:
        return
    route, status = format_route(f"/{sent.resolver_match.route}"), str(answer.status_code)
    call = f"{'GET' if sent.method == 'HEAD' else sent.method} {route}"
    if call not in document.operations:
        if route in document.routes and answer.status_code not in UNSUPPORTED_METHOD_STATUSES:
            yield f"{call} is not documented, and {status} is not for an unsupported method"
    elif described := document.operations[call]["responses"].get(status):
        yield from differences(document, call, described, answer)
    else:
        yield f"{call}: {status} is not documented"


def differences(document, call, described, answer):
    status = str(answer.status_code)
    for name in NAMED_HEADERS:
        if name in answer.headers and name not in described["headers"]:
            yield f"{call}: {status} has a header {name} that is not documented"
    if answer.wsgi_request.method == "HEAD" or answer.streaming or not answer.content:
        return
    if "json" in answer.headers["Content-Type"]:
        yield from (f"{call}: {status} at {wrong}" for wrong in document.response_errors(call, status, answer.json()))
