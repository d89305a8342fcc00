"""Logs: one JSON object a line on standard error, so that no text from outside can forge a second line."""

import logging
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS

from chassis import request_id


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.current.get()
        return True


def logging_for(service: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING setting for a service."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter}},
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "format": "{asctime}{levelname}{name}{message}{request_id}",
                "style": "{",
                "rename_fields": {"asctime": "at", "levelname": "level", "name": "logger"},
                "static_fields": {"service": service},
                # Django attaches the request, whose query string may hold what nobody may read.
                "reserved_attrs": [*RESERVED_ATTRS, "request"],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["request_id"]}},
        "root": {"handlers": ["stderr"], "level": level},
        # Django's own handlers would print the same in another form.
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
        },
    }
