import json
import logging.config
import re
import sys
import time
from datetime import UTC, datetime
from io import StringIO

import pytest

from chassis import request_id
from chassis.auth import audit
from chassis.ops.env import SettingError
from chassis.ops.logs import line_lost, logging_for

CONFIGURED = ("", "django", "django.server", "django.request", "gunicorn.error", "gunicorn.access", "security")


@pytest.fixture
def lines(monkeypatch):
    """Configure logging as a service does; return a function that reads the lines."""
    before = [
        (logger, logger.handlers[:], logger.level, logger.propagate) for logger in map(logging.getLogger, CONFIGURED)
    ]
    stream = StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logging.config.dictConfig(logging_for("task_service", "INFO"))
    yield lambda: stream.getvalue().splitlines()
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_a_log_line_has_time_level_logger_message_and_request_id(lines):
    request_id.current.set("abc-1")

    logging.getLogger("tasks").warning("task %s is late", 7)

    (line,) = map(json.loads, lines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("at"))
    assert line == {
        "level": "WARNING",
        "logger": "tasks",
        "message": "task 7 is late",
        "request_id": "abc-1",
        "service": "task_service",
    }


@pytest.mark.parametrize(
    "title",
    [
        "x\nINFO forged",
        "x\r\nINFO forged",
        "x\u2028INFO forged",
        "x\x85INFO forged",
        'x"}\n{"level": "INFO", "message": "forged"}',
        "\x1b[2J",
        "\ud800",
        "%s%n",
        "😀",
    ],
    ids=ascii,
)
def test_no_text_can_forge_a_log_line(lines, title):
    logging.getLogger("tasks").info("task %r", title, extra={"title": title})
    logging.getLogger("tasks").info("task " + title)

    first, second = map(json.loads, lines())
    assert (first["title"], first["level"]) == (title, "INFO")
    assert second["message"] == "task " + title


@pytest.mark.parametrize(
    "character", ["\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\U000e0041"], ids=ascii
)
def test_a_line_is_plain_ascii(lines, character):
    logging.getLogger("tasks").info("task %s", character, extra={"title": character})

    (line,) = lines()
    assert line.isascii()
    assert line.isprintable()


def test_the_security_log_has_its_own_level(lines, monkeypatch):
    stream = StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logging.config.dictConfig(logging_for("task_service", "ERROR"))

    audit.write("authz_fail", actor=7, path="/task/tasks/")

    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in ("logger", "level", "event", "actor", "subject", "address", "path")} == {
        "logger": "security",
        "level": "INFO",
        "event": "authz_fail",
        "actor": 7,
        "subject": None,
        "address": None,
        "path": "/task/tasks/",
    }


def test_a_traceback_stays_on_one_line(lines):
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        logging.getLogger("tasks").exception("failed")

    (line,) = map(json.loads, lines())
    assert "RuntimeError: two\nlines" in line["exc_info"]


def test_lines_below_the_level_are_not_logged(lines):
    logging.getLogger("tasks").debug("noise")

    assert lines() == []


@pytest.mark.parametrize("path", ["/nowhere/", "/who-am-i/", "/echo/?nope=1", "/broken/"])
def test_a_rejected_request_logs_one_line_with_its_id(lines, client, path):
    client.raise_request_exception = False

    client.get(path, headers={"X-Request-ID": "abc-1"})

    (line,) = map(json.loads, lines())
    assert (line["logger"], line["request_id"]) == ("django.request", "abc-1")


def test_a_token_in_a_header_is_not_logged(lines, client):
    client.get("/who-am-i/", headers={"Authorization": "Bearer eyJhbGciOi"})

    assert lines()
    assert "eyJhbGciOi" not in "".join(lines())


@pytest.mark.parametrize("path", ["/nowhere/", "/who-am-i/", "/echo/", "/broken/"])
def test_a_token_in_the_query_is_not_logged(lines, client, path):
    client.raise_request_exception = False

    client.get(f"{path}?access_token=eyJhbGciOi")

    assert lines()
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
def test_no_logger_has_its_own_level(lines, monkeypatch, logger):
    stream = StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logging.getLogger("django"), "level", logging.INFO)  # as Django sets it first
    logging.config.dictConfig(logging_for("task_service", "ERROR"))

    logging.getLogger(logger).warning("noise")
    logging.getLogger(logger).error("a fault")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["a fault"]


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


class Full(StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


class Closed(StringIO):
    def write(self, text):
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [Full(), Closed(), None], ids=["full", "closed", "none at all"])
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
