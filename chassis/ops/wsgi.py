"""The WSGI application of both services."""

from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

from chassis.size_limits import MAX_CONTENT_TYPE_LENGTH


class UTF8Request(WSGIRequest):
    """Decode the query string as UTF-8, whatever charset the Content-Type names.

    Django would trust the client and could fail in the codec before any middleware runs. A too long Content-Type counts
    as none.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        if len(meta.get("CONTENT_TYPE", "")) > MAX_CONTENT_TYPE_LENGTH:
            meta["CONTENT_TYPE"] = ""
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class Application(WSGIHandler):
    request_class = UTF8Request


def application() -> Application:
    """Return the application for DJANGO_SETTINGS_MODULE."""
    django.setup(set_prefix=False)
    return Application()
