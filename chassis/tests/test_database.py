"""Limits on waiting for the database: slow statements and unresponsive servers."""

import select
import socket
import time
from contextlib import suppress
from copy import deepcopy
from threading import Event, Thread

import pytest
from django.db import OperationalError, connection, transaction
from psycopg2.extensions import set_wait_callback

from chassis import database
from chassis.testing.limiting import set_limits
from chassis.tests.idempotency_app.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT_SECONDS = 0.5
LIMITS_OF_THE_ROLE = "-c statement_timeout=500ms -c lock_timeout=2s"
SILENCE_SECONDS = 0.6
CONNECT_SECONDS = 0.7  # instead of 2, for fast tests
BUSY_SECONDS = 20  # tolerance on a busy machine


class Silent:
    """A server that accepts connections and never responds."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def close(self):
        self.listener.close()


class Line:
    """A proxy to PostgreSQL that can go silent: its connections stay open but transfer nothing."""

    def __init__(self, *, host, port):
        self.server = (host, int(port))
        self.dead, self.ends = Event(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        Thread(target=self.listen, daemon=True).start()

    def listen(self):
        with suppress(OSError):  # closed
            while True:
                client, _ = self.listener.accept()
                Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client):
        server = socket.create_connection(self.server)
        self.ends += [client, server]
        others = {client: server, server: client}
        with suppress(OSError):  # closed
            while True:
                for end in select.select(list(others), [], [])[0]:
                    if not (portion := end.recv(65536)):
                        return others[end].close()
                    if not self.dead.is_set():
                        others[end].sendall(portion)

    def close(self):
        for each in (self.listener, *self.ends):
            with suppress(OSError):  # closed by the other side
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture(autouse=True)
def _limited(monkeypatch):
    """Sets limits for all connections of this process, and resets them."""
    kept = deepcopy(connection.settings_dict)
    connection.close()
    monkeypatch.setattr(database, "CONNECT_SECONDS", CONNECT_SECONDS)
    monkeypatch.setattr(database, "GRACE_SECONDS", SILENCE_SECONDS - LIMIT_SECONDS)
    connection.settings_dict["OPTIONS"]["options"] = LIMITS_OF_THE_ROLE
    database.limit_waits(seconds=LIMIT_SECONDS)
    yield
    set_wait_callback(None)
    connection.close()
    connection.settings_dict.clear()
    connection.settings_dict.update(kept)


@pytest.fixture
def silent():
    server = Silent()
    yield server
    server.close()


@pytest.fixture
def line():
    """A proxy to the database of this test."""
    line = Line(host=connection.settings_dict["HOST"], port=connection.settings_dict["PORT"])
    connect_by(line)
    yield line
    line.close()


def connect_by(other):
    connection.settings_dict.update(HOST="127.0.0.1", PORT=other.port)


def ask(statement="SELECT 1", *params):
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()


def given_up(statement="SELECT 1"):
    """Return the error and the seconds until it was raised."""
    began = time.monotonic()
    with pytest.raises(OperationalError) as caught:
        ask(statement)
    return str(caught.value), time.monotonic() - began


def test_it_works():
    assert ask("SELECT %s", 7) == (7,)
    assert ask("SHOW statement_timeout") == ("500ms",)
    assert ask("SHOW lock_timeout") == ("2s",)


def test_a_long_statement_has_a_minute():
    with database.long_statements():
        assert ask("SHOW statement_timeout") == ("1min",)

    assert ask("SHOW statement_timeout") == ("500ms",)


def test_a_fast_enough_statement_succeeds():
    began = time.monotonic()

    ask("SELECT pg_sleep(0.2)")

    assert time.monotonic() - began >= 0.2


def test_a_long_result_is_complete():
    (text,) = ask("SELECT repeat('x', 2000000)")

    assert text == "x" * 2_000_000


def test_a_long_statement_is_sent_completely():
    assert ask("SELECT length(%s)", "x" * 2_000_000) == (2_000_000,)


def test_the_server_cancels_a_slow_statement():
    ask()
    before = connection.connection

    error, seconds = given_up("SELECT pg_sleep(30)")

    assert "canceling statement due to statement timeout" in error
    assert LIMIT_SECONDS <= seconds < LIMIT_SECONDS + BUSY_SECONDS
    assert ask() == (1,)
    assert connection.connection is before


def test_a_server_that_never_responds_times_out(silent):
    connect_by(silent)

    error, seconds = given_up()

    assert error == "the database did not respond for 0.7 s"
    assert CONNECT_SECONDS <= seconds < CONNECT_SECONDS + BUSY_SECONDS
    assert connection.connection is None


def test_it_is_retried_after_each_timeout(silent, line):
    connect_by(silent)
    given_up()
    connect_by(line)

    assert ask() == (1,)


def test_a_connection_lost_between_statements_times_out(line):
    ask()
    line.dead.set()

    error, seconds = given_up()

    assert error == "the database did not respond for 0.6 s"
    assert SILENCE_SECONDS <= seconds < SILENCE_SECONDS + BUSY_SECONDS


def test_a_connection_lost_during_a_statement_times_out(line):
    ask()
    Thread(target=lambda: (time.sleep(0.1), line.dead.set()), daemon=True).start()

    error, seconds = given_up("SELECT pg_sleep(30)")

    assert error == "the database did not respond for 0.6 s"
    assert seconds < SILENCE_SECONDS + BUSY_SECONDS


def test_a_connection_lost_while_connecting_times_out(line):
    line.dead.set()

    error, seconds = given_up()

    assert error == "the database did not respond for 0.7 s"
    assert seconds < CONNECT_SECONDS + BUSY_SECONDS


def test_an_abandoned_connection_is_closed_and_replaced(line):
    ask()
    first = connection.connection
    line.dead.set()
    given_up()
    line.dead.clear()

    assert first.closed
    connection.close_if_unusable_or_obsolete()  # as Django does after each request
    assert ask() == (1,)
    assert connection.connection is not first


def test_a_request_without_a_database_is_503_and_the_next_works(client, settings, line):
    set_limits(settings, anon="5/min")
    before = client.get("/echo/")
    line.dead.set()
    began = time.monotonic()
    refused = client.get("/echo/")
    took = time.monotonic() - began
    line.dead.clear()

    connection.close_if_unusable_or_obsolete()
    afterwards = client.get("/echo/")

    assert [answer.status_code for answer in (before, refused, afterwards)] == [200, 503, 200]
    assert (refused.json()["code"], refused.headers["Retry-After"]) == ("service_unavailable", "2")
    assert took < SILENCE_SECONDS + BUSY_SECONDS


def test_a_timed_out_transaction_is_rolled_back():
    with suppress(OperationalError), transaction.atomic():
        Note.objects.create(text="hello")
        ask("SELECT pg_sleep(30)")

    with transaction.atomic():
        assert not Note.objects.exists()


def test_a_refused_connection_fails_at_once():
    connection.settings_dict["PORT"] = "1"

    error, seconds = given_up()

    assert "Connection refused" in error
    assert seconds < BUSY_SECONDS
