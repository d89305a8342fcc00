"""Slow clients are cut off within the limits and do not affect others."""

import resource
import selectors
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest

from tests.raw_http import FakeService, Gateway, answer, connect, connections, lines, rest

IDLE = 2000
DRIPPING = 30
HEADER_SECONDS = 10  # client_header_timeout, for all headers
BODY_SECONDS = 5  # client_body_timeout, between two parts
ANSWER_SECONDS = 10  # send_timeout, between two parts
LARGE = b"x" * 20_000_000


@pytest.fixture(scope="module")
def gateway():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    users, tasks = FakeService(), FakeService()
    tasks.behavior = answer(body=LARGE)
    with Gateway(user_service=users.address, task_service=tasks.address) as running:
        yield running
    users.close()
    tasks.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def seconds_until_cut(opened):
    """Return how long each of these connections stayed open."""
    began, ends = time.monotonic(), []
    with selectors.DefaultSelector() as selector:  # select() supports only 1024
        for connection in opened:
            selector.register(connection, selectors.EVENT_READ)
        while len(ends) < len(opened) and (cut := selector.select(20)):
            for key, _ in cut:
                assert rest(key.fileobj) == b""
                selector.unregister(key.fileobj)
                ends.append(time.monotonic() - began)
    return ends


def drip(opened, until):
    """Send a header byte on each connection, twice a second."""
    while not until.wait(0.5):
        for connection in opened:
            with suppress(OSError):  # cut off
                connection.send(b"x")


def keep_calling(gateway, until):
    """Keep calling; return the duration of the slowest response."""
    longest = 0.0
    while not until.wait(0.05):
        began = time.monotonic()
        assert gateway.call("GET", "/user/me/").status == 200
        longest = max(longest, time.monotonic() - began)
    return longest


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
        waits = [pool.submit(seconds_until_cut, opened) for opened in (idle, dripping, unfinished)]
        try:
            times = [wait.result(timeout=30) for wait in waits]
        finally:
            over.set()

    assert [len(each) for each in times] == [IDLE, DRIPPING, DRIPPING]
    assert HEADER_SECONDS - 2 < max(times[0]) < HEADER_SECONDS + 2
    assert HEADER_SECONDS - 2 < max(times[1]) < HEADER_SECONDS + 2
    assert BODY_SECONDS - 2 < max(times[2]) < BODY_SECONDS + 2
    assert others.result() < 1


def test_a_client_that_does_not_read_is_cut_off(gateway):
    with connect(gateway.port) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(lines("GET", "/task/tasks/"))
        entry = gateway.logged(path="/task/tasks/")
        received = rest(lazy)

    assert 0 < len(received) < len(LARGE)
    assert entry["seconds"] > ANSWER_SECONDS - 2
    assert float(entry["upstream_seconds"]) < 2


def test_a_slow_body_reaches_the_service_only_when_complete(gateway):
    """Nginx has no timeout for a whole body, so it buffers the body and counts the client."""
    service = FakeService()
    with (
        Gateway(user_service=service.address, task_service=service.address) as running,
        connect(running.port) as dripping,
    ):
        request = lines("POST", "/user/register/", b'{"a":1}')
        dripping.sendall(request[:-3])
        for letter in request[-3:]:
            assert service.requests == []
            time.sleep(0.3)
            dripping.sendall(bytes([letter]))
        answered = rest(dripping)
    service.close()

    assert answered.startswith(b"HTTP/1.1 200 OK")
    assert [it.body for it in service.requests] == [b'{"a":1}']
