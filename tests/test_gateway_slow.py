"""Slow clients are cut off within the limits and do not affect others."""

import resource
import selectors
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest

from tests.local_stack import HANG_SECONDS
from tests.raw_http import FakeService, Gateway, answer, connect, connections, lines, rest

IDLE = 2000
DRIPPING = 30
LIMITS = {
    "client_header_timeout 10s": "client_header_timeout 1s",  # for all headers
    "client_body_timeout 5s": "client_body_timeout 1s",  # between two parts
    "send_timeout 10s": "send_timeout 1s",  # between two parts
}
LARGE = b"x" * 8_000_000
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def gateway():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with FakeService() as users, in_front_of(users) as running:
        yield running
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def in_front_of(service):
    return Gateway(user_service=service.address, task_service=service.address, changed=LIMITS)


def cut_off(opened):
    """Return how many of these connections the gateway closed without a response."""
    closed = 0
    with selectors.DefaultSelector() as selector:  # select() supports only 1024
        for connection in opened:
            selector.register(connection, selectors.EVENT_READ)
        while closed < len(opened) and (cut := selector.select(HANG_SECONDS)):
            for key, _ in cut:
                assert rest(key.fileobj) == b""
                selector.unregister(key.fileobj)
                closed += 1
    return closed


def drip(opened, until):
    """Keep sending header bytes on each connection."""
    while not until.wait(0.2):
        for connection in opened:
            with suppress(OSError):  # cut off
                connection.send(b"x")


def keep_calling(gateway, until):
    """Keep calling; return the number of calls."""
    calls = 0
    while not until.wait(0.05):
        assert gateway.call("GET", "/user/me/").status == 200
        calls += 1
    return calls


def test_slow_clients_are_cut_off_while_others_are_served(gateway):
    over = Event()
    header = b"GET /user/me/ HTTP/1.1\r\nHost: localhost\r\nX-Drip: "
    body = lines("POST", "/user/register/", b"{}")[:-1]
    with (
        connections(gateway.port, IDLE, each_sends=b"") as idle,
        connections(gateway.port, DRIPPING, each_sends=header, clients=DRIPPING) as dripping,
        connections(gateway.port, DRIPPING, each_sends=body, clients=DRIPPING) as unfinished,
        ThreadPoolExecutor() as pool,
    ):
        pool.submit(drip, dripping, over)
        others = pool.submit(keep_calling, gateway, over)
        waits = [pool.submit(cut_off, opened) for opened in (idle, dripping, unfinished)]
        try:
            cut = [wait.result() for wait in waits]
        finally:
            over.set()

    assert cut == [IDLE, DRIPPING, DRIPPING]
    assert others.result() > 0


def test_a_client_that_does_not_read_is_cut_off():
    """The service is done before: Nginx has buffered its response."""
    sent = Event()
    with FakeService() as tasks, in_front_of(tasks) as running, connect(running.port) as lazy:
        tasks.behavior = lambda request, connection: (answer(body=LARGE)(request, connection), sent.set())
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(lines("GET", "/task/tasks/"))
        running.logged(path="/task/tasks/")
        received = rest(lazy)

    assert 0 < len(received) < len(LARGE)
    assert sent.is_set()


def test_a_stream_stops_at_a_client_that_does_not_read():
    """Nginx stores a part of it, not all, and closes the connection to the service after send_timeout."""
    sent, cut = [], Event()

    def stream(request, connection):
        connection.sendall(STREAM_HEAD)
        try:
            while len(sent) < 1600:  # 100 MB
                connection.sendall(CHUNK)
                sent.append(CHUNK)
        except OSError:
            cut.set()

    with FakeService() as tasks, in_front_of(tasks) as running, connect(running.port) as lazy:
        tasks.behavior = stream
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(lines("GET", "/task/tasks/export.csv"))

        assert cut.wait(HANG_SECONDS)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("end", [b"", CHUNK[:100], LAST_CHUNK], ids=["between chunks", "in a chunk", "whole"])
def test_a_broken_stream_is_broken_for_the_client_too(encoding, end):
    """Only a whole one has the last chunk."""
    with FakeService() as tasks, in_front_of(tasks) as running, connect(running.port) as client:
        tasks.behavior = lambda request, connection: connection.sendall(STREAM_HEAD + CHUNK + end)
        client.sendall(lines("GET", "/task/tasks/export.csv", Accept_Encoding=encoding))
        received = rest(client)

    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(LAST_CHUNK) == (end == LAST_CHUNK)


def test_a_slow_body_reaches_the_service_only_when_complete():
    """Nginx has no timeout for a whole body, so it buffers the body and counts the client."""
    with FakeService() as service, in_front_of(service) as running, connect(running.port) as dripping:
        request = lines("POST", "/user/register/", b'{"a":1}')
        dripping.sendall(request[:-3])
        for letter in request[-3:]:
            assert service.requests == []
            time.sleep(0.1)
            dripping.sendall(bytes([letter]))
        answered = rest(dripping)

    assert answered.startswith(b"HTTP/1.1 200 OK")
    assert [it.body for it in service.requests] == [b'{"a":1}']
