"""The access log: one JSON object per line, whatever clients send."""

import json

import pytest

from tests.local_stack import eventually
from tests.raw_http import FakeService, Gateway, lines, send


@pytest.fixture(scope="module")
def tasks():
    with FakeService() as service:
        yield service


@pytest.fixture(scope="module")
def gateway(tasks):
    with Gateway(user_service=tasks.address, task_service=tasks.address) as running:
        yield running


def test_log_lines_are_json_without_the_query(gateway, tasks):
    read = gateway.call("GET", "/task/tasks/?search=sesame", User_Agent='a"b\\c', Referer="https://sesame/")
    gateway.call("DELETE", '/"x"?search=sesame')
    send(gateway.port, b"GET /old?search=sesame\r\n")
    send(gateway.port, b"\x16\x03\x01 sesame\r\n\r\n")

    entry = gateway.logged(request_id=read["X-Request-ID"])
    assert entry.items() >= {"method": "GET", "path": "/task/tasks/", "status": 200, "user_agent": 'a"b\\c'}.items()
    assert entry.items() >= {"host": "localhost", "client": "127.0.0.1", "upstream": tasks.address}.items()
    assert gateway.logged(method="DELETE", path='/"x"')["status"] == 404
    assert gateway.logged(path="/old")["status"] == 421
    assert gateway.logged(path="", method="")["status"] == 400
    assert "sesame" not in gateway.log.read_text()


def test_the_health_check_of_the_container_is_not_logged(gateway):
    gateway.call("GET", "/health/live/", User_Agent="healthcheck", X_Request_ID="checked")
    gateway.call("GET", "/health/live/", User_Agent="curl", X_Request_ID="asked")
    gateway.call("GET", "/nowhere/", User_Agent="healthcheck", X_Request_ID="elsewhere")

    assert gateway.logged(request_id="asked")["status"] == 200
    assert gateway.logged(request_id="elsewhere")["status"] == 404
    assert "checked" not in gateway.log.read_text()


HOSTILE = {
    "not UTF-8": b"\xff\xfe",
    "overlong UTF-8": b"\xc0\xaf",
    "half a surrogate pair": b"\xed\xa0\x80",
    "a character cut off": b"\xe2\x80",
    "right-to-left override": "\u202e".encode(),
    "line separator": "\u2028".encode(),
    "next line": "\u0085".encode(),
    "no-break space": b"\xc2\xa0",
    "delete": b"\x7f",
    "escape": b"\x1b[2J",
    "bell": b"\x07",
    "tab": b"\t",
}
PLACES = {
    "user_agent": b"GET /task/tasks/ HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a%b\r\nConnection: close\r\n\r\n",
    "path": b"GET /a%b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "host": b"GET /task/tasks/ HTTP/1.1\r\nHost: a%b\r\nConnection: close\r\n\r\n",
    "method": b"G%T /task/tasks/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "query": b"GET /task/tasks/?a%b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "X-Request-ID": b"GET /x HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a%b\r\nConnection: close\r\n\r\n",
    "version": b"GET /x HTTP/%\r\nHost: localhost\r\nConnection: close\r\n\r\n",
}

MEMBERS = {
    *("at", "request_id", "client", "method", "host", "path", "status", "bytes", "seconds", "user_agent"),
    *("upstream", "upstream_status", "upstream_seconds"),
}


def access_lines(gateway):
    return [line for line in gateway.log.read_bytes().splitlines() if line.startswith(b"{")]


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(("place", "request_"), PLACES.items(), ids=PLACES)
def test_a_log_line_is_always_printable_ascii(gateway, place, request_, sent):
    before = len(access_lines(gateway))

    send(gateway.port, request_.replace(b"%", sent))

    eventually(lambda: len(access_lines(gateway)) > before)
    (line,) = access_lines(gateway)[before:]
    assert all(0x20 <= byte < 0x7F for byte in line)
    assert json.loads(line).keys() == MEMBERS


def test_an_unprintable_value_is_replaced(gateway):
    send(gateway.port, lines("GET", "/task/tasks/", User_Agent="caf\xe9", X_Request_ID="replaced"))
    send(gateway.port, lines("M-SEARCH", "/caf\xe9?x", X_Request_ID="too"))

    assert gateway.logged(request_id="replaced")["user_agent"] == "(not printable)"
    assert gateway.logged(request_id="too").items() >= {"path": "(not printable)", "method": "M-SEARCH"}.items()
