"""Logs: one JSON object per line on standard error, so that untrusted text cannot forge a line."""

import logging
import sys
import time
from typing import Any, TextIO

from django.dispatch import Signal
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from chassis import request_id
from chassis.ops import env

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

line_lost = Signal()  # standard error is closed, or its disk is full


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.current.get()
        return True


class UTCFormatter(JsonFormatter):
    """Writes times in UTC: Django sets the time zone of the process, and lines would not name it."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


class StandardError(logging.StreamHandler[TextIO]):
    """Continues without a traceback if a line cannot be written, since that could not be written either."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if record.args and not isinstance(sys.exception(), OSError):
            record.args = ()  # they do not match the text; log it without them
            self.emit(record)
        else:
            line_lost.send(type(self))


def level() -> str:
    return env.text("LOG_LEVEL", "INFO")


def logging_for(service: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING setting for a service."""
    if level not in LEVELS:
        raise env.SettingError(f"LOG_LEVEL must be one of {', '.join(LEVELS)}, not {level!r}.")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter}},
        "formatters": {
            "json": {
                "()": UTCFormatter,
                "format": "{asctime}{levelname}{name}{message}{request_id}",
                "style": "{",
                "rename_fields": {"asctime": "at", "levelname": "level", "name": "logger"},
                "static_fields": {"service": service},
                # Django attaches the request, whose query string may contain secrets.
                "reserved_attrs": [*RESERVED_ATTRS, "request"],
            }
        },
        "handlers": {"stderr": {"()": StandardError, "formatter": "json", "filters": ["request_id"]}},
        "root": {"handlers": ["stderr"], "level": level},
        # Their default handlers would print lines twice, and Django's default level would override `level`.
        "loggers": {
            "django": {"handlers": [], "propagate": True, "level": "NOTSET"},
            "django.server": {"handlers": [], "propagate": True, "level": "NOTSET"},
            "gunicorn.error": {"handlers": [], "propagate": True},
            "gunicorn.access": {"handlers": [], "propagate": True},
            "security": {"handlers": [], "propagate": True, "level": "INFO"},  # independent of LOG_LEVEL
        },
    }
