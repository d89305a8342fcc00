import json
import logging.config
import re
import sys
import time
from datetime import UTC, datetime
from io import StringIO

import pytest

from chassis import request_id
from chassis.auth import audit, client_address
from chassis.ops.env import SettingError
from chassis.ops.logs import line_lost, logging_for

CONFIGURED = ("", "django", "django.server", "django.request", "gunicorn.error", "gunicorn.access", "security")


@pytest.fixture
def log_at(monkeypatch):
    """Configures logging as a service does; returns a function that reads the lines."""
    before = [
        (logger, logger.handlers[:], logger.level, logger.propagate) for logger in map(logging.getLogger, CONFIGURED)
    ]

    def configure(level, stream=None):
        stream = stream or StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logging.config.dictConfig(logging_for("task_service", level))
        return lambda: stream.getvalue().splitlines()

    yield configure
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def lines(log_at):
    return log_at("INFO")


def test_a_log_line_has_time_level_logger_message_and_request_id(lines):
    request_id.current.set("abc-1")

    logging.getLogger("tasks").debug("noise")
    logging.getLogger("tasks").warning("task %s is late", 7)

    (line,) = map(json.loads, lines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("at"))
    named = {"level": "WARNING", "logger": "tasks", "message": "task 7 is late"}
    assert line == named | {"request_id": "abc-1", "service": "task_service"}


@pytest.mark.parametrize(
    "title",
    [
        *("x\nINFO forged", "x\r\nINFO forged", "x\u2028INFO forged", "x\x85INFO forged", "\x1b[2J", "\ud800"),
        *('x"}\n{"level": "INFO", "message": "forged"}', "%s%n", "😀", "\x00", "\x7f", "\u202e", "\U000e0041"),
    ],
    ids=ascii,
)
def test_no_text_can_forge_a_log_line(lines, title):
    logging.getLogger("tasks").info("task %r", title, extra={"title": title})
    logging.getLogger("tasks").info("task " + title)

    first, second = map(json.loads, lines())
    assert (first["title"], first["level"]) == (title, "INFO")
    assert second["message"] == "task " + title
    assert all(line.isascii() and line.isprintable() for line in lines())


def test_the_security_log_has_its_own_level(log_at):
    lines = log_at("ERROR")
    client_address.current.set("203.0.113.7")

    audit.write("authz_fail", actor=7, path="/task/tasks/")

    (line,) = map(json.loads, lines())
    entry = {"logger": "security", "level": "INFO", "event": "authz_fail", "actor": 7, "path": "/task/tasks/"}
    assert line.items() >= (entry | {"subject": None, "address": "203.0.113.7"}).items()


def test_a_traceback_stays_on_one_line(lines):
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        logging.getLogger("tasks").exception("failed")

    (line,) = map(json.loads, lines())
    assert "RuntimeError: two\nlines" in line["exc_info"]


@pytest.mark.parametrize("path", ["/nowhere/", "/who-am-i/", "/echo/", "/broken/"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer eyJhbGciOi"}], ids=["query", "header"])
def test_a_rejected_request_logs_its_id_and_no_token(lines, client, path, headers):
    client.raise_request_exception = False

    client.get(f"{path}?access_token=eyJhbGciOi", headers={"X-Request-ID": "abc-1"} | headers)

    *_, last = found = [json.loads(line) for line in lines()]
    assert last["logger"] == "django.request"
    assert [line["request_id"] for line in found if line["logger"] == "django.request"] == ["abc-1"]
    assert "eyJhbGciOi" not in "".join(lines())


def test_the_time_is_utc_in_any_time_zone(lines, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        logging.getLogger("tasks").info("now")
    finally:
        monkeypatch.undo()
        time.tzset()

    (line,) = map(json.loads, lines())
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["at"])).total_seconds()) < 60


@pytest.mark.parametrize("logger", ["django.request", "django.server", "tasks"])
def test_no_logger_has_its_own_level(log_at, monkeypatch, logger):
    monkeypatch.setattr(logging.getLogger("django"), "level", logging.INFO)  # as Django sets it first
    lines = log_at("ERROR")

    logging.getLogger(logger).warning("noise")
    logging.getLogger(logger).error("a fault")

    assert [json.loads(line)["message"] for line in lines()] == ["a fault"]


@pytest.mark.parametrize("level", ["info", "LOUD", "", "10"])
def test_an_invalid_log_level_is_rejected_in_one_sentence(level):
    with pytest.raises(SettingError, match="LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not"):
        logging_for("task_service", level)


@pytest.fixture
def lost():
    """A list with an entry per lost log line."""
    found = []

    def note(**_):
        found.append(1)

    line_lost.connect(note)
    yield found
    line_lost.disconnect(note)


class Broken(StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    "stream",
    [Broken(OSError(28, "No space left on device")), Broken(ValueError("closed file")), None],
    ids=["full", "closed", "none at all"],
)
def test_a_log_line_that_cannot_be_written_is_signaled(lines, lost, monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    logging.config.dictConfig(logging_for("task_service", "INFO"))

    logging.getLogger("tasks").info("task %s is late", 7)
    logging.getLogger("tasks").info("no arguments")

    assert len(lost) == 2
    assert capsys.readouterr() == ("", "")


def test_log_arguments_that_do_not_match_are_dropped(lines, lost):
    logging.getLogger("tasks").info("task %d is late", "seven")

    (line,) = map(json.loads, lines())
    assert (line["message"], lost) == ("task %d is late", [])
