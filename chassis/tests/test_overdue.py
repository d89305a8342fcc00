"""Requests that waited too long for a process are rejected, by the header of the gateway."""

import ipaddress
from types import SimpleNamespace

import pytest
from django.test import Client

from chassis.api import middleware
from chassis.models import Window
from chassis.testing.forge import claims, signed
from chassis.testing.limiting import read_limits, set_limits
from chassis.tests.idempotency_app.models import Note

GATEWAY, STRANGER = "192.0.2.1", "203.0.113.7"


@pytest.fixture(autouse=True)
def _gateway(settings):
    settings.GATEWAY_ADDRESSES = [ipaddress.ip_network(GATEWAY)]


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(at=1_800_000_000.0)
    clock.time = lambda: clock.at
    monkeypatch.setattr(middleware, "time", clock)
    return clock


@pytest.fixture
def process(clock):
    """A process that started an hour ago."""
    client = Client()
    assert client.get("/echo/").status_code == 200
    clock.at += 3600
    return client


@pytest.fixture
def ask(process):
    """Sends a request with this header."""

    def send(started, *, peer=GATEWAY, method="GET", path="/echo/", **headers):
        headers |= {"X-Request-Start": started}
        content = b'{"text": "hello"}'
        return process.generic(
            method, path, content, content_type="application/json", headers=headers, REMOTE_ADDR=peer
        )

    return send


@pytest.fixture
def seconds_ago(clock):
    """Formats the header like the gateway: $msec of Nginx."""
    return lambda seconds: f"t={clock.at - seconds:.3f}"


@pytest.mark.parametrize("peer", [GATEWAY, f"::ffff:{GATEWAY}"])
def test_a_request_that_waited_too_long_at_the_gateway_is_503(ask, seconds_ago, peer):
    answer = ask(seconds_ago(6), peer=peer)

    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert (answer.json()["code"], answer.json()["instance"]) == ("overloaded", "/echo/")
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("seconds", [-3600, -1, 0, 1, 5])
def test_a_request_that_waited_briefly_or_came_early_is_served(ask, seconds_ago, seconds):
    assert ask(seconds_ago(seconds)).status_code == 200


@pytest.mark.parametrize("peer", [STRANGER, "127.0.0.1", "192.0.2.11", "2001:db8::1", "", "unix:"])
def test_the_header_is_ignored_from_other_peers(ask, seconds_ago, peer):
    assert ask(seconds_ago(3600), peer=peer).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        *("", "t=", "1", "1.000", "t=1", "t=1.0", "t=-1.000", "t=1e3", "t=1.000 ", " t=1.000", "T=1.000", "t=nan"),
        *("t=inf", "t=1.0000", "t=1.000,t=1.000", "t=1_0.000", "t=\u0661.000", "t=" + "9" * 5000 + ".000"),
        "t=9999999999999.000",
    ],
)
def test_an_unparsable_start_header_is_ignored(ask, header):
    assert ask(header).status_code == 200


def test_time_before_the_start_of_the_process_does_not_count(ask, seconds_ago, process, clock):
    """A restart is no overload."""
    process.handler.load_middleware()  # like a new process
    sent = seconds_ago(60)

    clock.at += 5
    in_time = ask(sent).status_code
    clock.at += 1

    assert (in_time, ask(sent).status_code) == (200, 503)


@pytest.mark.django_db
def test_an_overdue_request_is_not_executed_or_counted(settings, ask, seconds_ago):
    set_limits(settings, user="5/min", anon="5/min")
    signed_in = {"Authorization": f"Bearer {signed(claims())}"}

    answers = [ask(seconds_ago(6), method="POST", path="/notes/", **headers) for headers in ({}, signed_in)]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert [read_limits(answer) for answer in answers] == [[], []]
    assert not Note.objects.exists()
    assert not Window.objects.exists()
