"""The proxy and the mail server of scripts/faults."""

import smtplib
import socket
import socketserver
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from threading import Thread

import pytest

from chassis.testing.smtp_sink import serving
from stack.ports import free_ports
from tests.lab.mails import FlakySink, ReceivedMail
from tests.lab.proxy import Mode, listening

# The proxy


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1000):
            self.request.sendall(data)


@contextmanager
def echo():
    """Run an echo server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def between():
    """A proxy in front of an echo server, and a connection through it."""
    (port,) = free_ports(1)
    with (
        echo() as target,
        listening(port, lambda: target) as proxy,
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
    ):
        yield proxy, connection, port


def ask(connection, text=b"hello"):
    connection.sendall(text)
    assert connection.recv(1000) == text


def test_the_proxy_forwards_everything(between):
    _, connection, _ = between

    ask(connection)
    connection.shutdown(socket.SHUT_WR)

    assert connection.recv(1000) == b""


def test_a_silent_proxy_accepts_and_forwards_nothing(between):
    proxy, connection, port = between
    proxy.mode = Mode.SILENT

    connection.sendall(b"hello")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as second:
        second.sendall(b"hello")
        for each in (connection, second):
            each.settimeout(0.2)
            with pytest.raises(TimeoutError):
                each.recv(1000)
            each.settimeout(5)
        proxy.mode = Mode.PASS

        assert [each.recv(1000) for each in (connection, second)] == [b"hello", b"hello"]


def test_a_slow_proxy_delays_each_answer(between):
    proxy, connection, _ = between
    proxy.mode, proxy.latency_seconds = Mode.LATENCY, 0.5

    began = time.monotonic()
    connection.sendall(b"one")
    answer = connection.recv(3)

    assert answer == b"one"
    assert time.monotonic() - began >= 0.5


def test_closing_the_proxy_closes_every_connection():
    (port,) = free_ports(1)
    with echo() as target, ExitStack() as connections:
        with listening(port, lambda: target):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            ask(connection)
        assert connection.recv(1000) == b""


# The mail server


@pytest.fixture
def sink():
    server = FlakySink(seed=1)
    with serving(sink=server):
        yield server


def send(sink, number):
    """Send a mail; return the name of the exception, or ""."""
    message = EmailMessage()
    message["Message-ID"] = f"<{number}@example.com>"
    message["X-TMService-Event"] = "task_assigned"
    message.set_content("The text")
    try:
        with smtplib.SMTP(*sink.server_address) as client:
            client.send_message(message, "ada@example.com", ["alice@example.com"])
    except (smtplib.SMTPException, OSError) as error:
        return type(error).__name__
    return None


def test_the_mail_server_fails_at_random_but_loses_nothing(sink):
    outcomes = [send(sink, number) for number in range(80)]

    taken = [
        ReceivedMail(f"<{number}@example.com>", "alice@example.com", "task_assigned")
        for number, outcome in enumerate(outcomes)
        if outcome is None
    ]
    assert sink.accepted == taken
    assert {"SMTPRecipientsRefused", "SMTPDataError", "SMTPServerDisconnected"} <= Counter(outcomes).keys()
    assert len(taken) > 50
