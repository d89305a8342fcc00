"""Limits on waiting for the database: slow statements and unresponsive servers."""

import select
import socket
import time
from contextlib import closing, contextmanager, suppress
from copy import deepcopy
from threading import Event, Thread, Timer

import psycopg2
import pytest
from django.db import OperationalError, connection
from psycopg2.extensions import set_wait_callback

from chassis import database
from chassis.testing.limiting import set_limits

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS_OF_THE_ROLE = "-c statement_timeout=55s -c lock_timeout=2s"
LONG_SECONDS = 60  # against hanging alone
SILENCE_SECONDS, CONNECT_SECONDS = 0.3, 0.4  # for a server that does not respond


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
        with suppress(OSError, ValueError):  # closed, by the other side or close()
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
def _limited():
    """Sets limits for all connections of this process, too long to matter, and resets them."""
    kept = deepcopy(connection.settings_dict)
    connection.close()
    connection.settings_dict["OPTIONS"]["options"] = LIMITS_OF_THE_ROLE
    with limits(connect_seconds=LONG_SECONDS, silence_seconds=LONG_SECONDS):
        yield
    set_wait_callback(None)
    connection.close()
    connection.settings_dict.clear()
    connection.settings_dict.update(kept)


@contextmanager
def limits(*, connect_seconds=CONNECT_SECONDS, silence_seconds=SILENCE_SECONDS):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "CONNECT_SECONDS", connect_seconds)
        database.limit_waits(seconds=silence_seconds - database.GRACE_SECONDS)
        yield
    database.limit_waits(seconds=LONG_SECONDS)


@pytest.fixture
def line():
    """A proxy to the database of this test."""
    line = Line(host=connection.settings_dict["HOST"], port=connection.settings_dict["PORT"])
    connection.settings_dict.update(HOST="127.0.0.1", PORT=line.port)
    yield line
    line.close()


def ask(statement="SELECT 1", *params):
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()


def failure(statement="SELECT 1"):
    """Return the error of a statement that a server does not respond to, within limits that are soon over."""
    began = time.monotonic()
    with limits(), pytest.raises(OperationalError) as caught:
        ask(statement)
    assert time.monotonic() - began < LONG_SECONDS / 2
    return str(caught.value)


SILENT = f"the database did not respond for {SILENCE_SECONDS} s"
CANNOT_CONNECT = f"the database did not respond for {CONNECT_SECONDS} s"


def test_only_a_long_statement_exceeds_the_role_limits():
    assert ask("SELECT %s", 7) == (7,)
    assert ask("SHOW lock_timeout") == ("2s",)
    with database.long_statements():
        assert ask("SHOW statement_timeout") == ("1min",)
    assert ask("SHOW statement_timeout") == ("55s",)


def test_a_long_statement_and_a_long_result_are_complete():
    (text,) = ask("SELECT %s || repeat('y', 2000000)", "x" * 2_000_000)

    assert text == "x" * 2_000_000 + "y" * 2_000_000


def test_the_server_cancels_a_slow_statement():
    ask("SELECT set_config('statement_timeout', '1s', false)")
    before = connection.connection

    with pytest.raises(OperationalError, match="canceling statement due to statement timeout"):
        ask("SELECT pg_sleep(30)")

    assert ask() == (1,)
    assert connection.connection is before


def test_a_silent_server_times_out_and_is_asked_again(line):
    line.dead.set()

    assert failure() == CANNOT_CONNECT
    assert connection.connection is None
    line.dead.clear()
    assert ask() == (1,)


@pytest.mark.parametrize("wait_seconds", [None, 0], ids=["between statements", "during a statement"])
def test_a_connection_that_goes_silent_is_closed_and_replaced(line, wait_seconds):
    ask()
    first, pid = connection.connection, connection.connection.get_backend_pid()
    silence = Timer(0.1, line.dead.set)
    silence.start()
    silence.join(wait_seconds)
    error = failure("SELECT pg_sleep(30)")
    silence.join()
    line.dead.clear()

    assert (error, bool(first.closed)) == (SILENT, True)
    connection.close_if_unusable_or_obsolete()  # as Django does after each request
    assert ask("SELECT pg_terminate_backend(%s, 30000) IS NOT NULL", pid) == (True,)  # it still sleeps
    assert connection.connection is not first


def test_a_request_without_a_database_is_503_and_the_next_works(client, settings, line):
    set_limits(settings, anon="5/min")
    before = client.get("/echo/")
    line.dead.set()
    with limits():
        refused = client.get("/echo/")
    line.dead.clear()

    connection.close_if_unusable_or_obsolete()
    afterwards = client.get("/echo/")

    assert [answer.status_code for answer in (before, refused, afterwards)] == [200, 503, 200]
    assert (refused.json()["code"], refused.headers["Retry-After"]) == ("service_unavailable", "2")


def test_a_closed_connection_is_found_without_a_statement(django_assert_num_queries):
    connection.ensure_connection()
    was_usable = connection.is_usable()

    with closing(connect_again()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.connection.info.backend_pid])

    with django_assert_num_queries(0):
        assert (was_usable, connection.is_usable()) == (True, False)
    connection.close()


def connect_again():
    """Open a second connection to the test's database."""
    return psycopg2.connect(connection.connection.dsn, password=connection.settings_dict["PASSWORD"])
