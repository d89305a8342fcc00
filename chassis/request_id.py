"""One id follows a request through the gateway, both services and every log line (header X-Request-ID)."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-ID"
VALID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # the gateway's template holds the same rule

current: ContextVar[str] = ContextVar("request_id", default="")


class RequestIdMiddleware:
    """Keep a sane id that was sent, make one otherwise, and answer with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get(HEADER, "")
        # Left set after the answer: gunicorn and runserver log about a request when the middleware is done with it.
        current.set(sent if VALID.fullmatch(sent) else uuid4().hex)
        response = self.get_response(request)
        response[HEADER] = current.get()
        return response
