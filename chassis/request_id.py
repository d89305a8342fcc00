"""The request id (header X-Request-ID), passed through the gateway and both services and added to every log line."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-ID"
VALID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # the gateway's template has the same rule

current: ContextVar[str] = ContextVar("request_id", default="")


class RequestIdMiddleware:
    """Keep a valid id from the client or generate one, and return it in the response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get(HEADER, "")
        # Not reset after the response: gunicorn and runserver write log lines about a request after the middleware.
        current.set(sent if VALID.fullmatch(sent) else uuid4().hex)
        response = self.get_response(request)
        response[HEADER] = current.get()
        return response
