import json
import logging.config
import sys
from io import StringIO

import pytest

from chassis import request_id
from chassis.logs import logging_for

CONFIGURED = ("", "django", "django.server", "django.request")


@pytest.fixture
def lines(monkeypatch):
    """Configure logging as a service does, and return a function that reads what it wrote."""
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


def test_a_line_says_when_how_bad_where_what_and_during_which_request(lines):
    request_id.current.set("abc-1")

    logging.getLogger("tasks").warning("task %s is late", 7)

    (line,) = map(json.loads, lines())
    assert line.pop("at")
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
def test_no_text_forges_a_second_line(lines, title):
    logging.getLogger("tasks").info("task %r", title, extra={"title": title})
    logging.getLogger("tasks").info("task " + title)

    first, second = map(json.loads, lines())
    assert (first["title"], first["level"]) == (title, "INFO")
    assert second["message"] == "task " + title


def test_a_traceback_stays_on_the_line(lines):
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        logging.getLogger("tasks").exception("failed")

    (line,) = map(json.loads, lines())
    assert "RuntimeError: two\nlines" in line["exc_info"]


def test_what_is_below_the_level_is_left_out(lines):
    logging.getLogger("tasks").debug("noise")

    assert lines() == []


@pytest.mark.parametrize("path", ["/nowhere/", "/who-am-i/", "/echo/?nope=1", "/broken/"])
def test_a_refused_request_is_one_line_under_its_id(lines, client, path):
    client.raise_request_exception = False

    client.get(path, headers={"X-Request-ID": "abc-1"})

    (line,) = map(json.loads, lines())
    assert (line["logger"], line["request_id"]) == ("django.request", "abc-1")


def test_a_token_in_the_header_is_never_in_the_log(lines, client):
    client.get("/who-am-i/", headers={"Authorization": "Bearer eyJhbGciOi"})

    assert lines()
    assert "eyJhbGciOi" not in "".join(lines())


@pytest.mark.parametrize("path", ["/nowhere/", "/who-am-i/", "/echo/", "/broken/"])
def test_a_token_in_the_query_is_never_in_the_log(lines, client, path):
    client.raise_request_exception = False

    client.get(f"{path}?access_token=eyJhbGciOi")

    assert lines()
    assert "eyJhbGciOi" not in "".join(lines())
