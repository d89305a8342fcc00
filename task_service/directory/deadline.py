"""A time limit for a whole HTTP call. A read timeout is not enough: it restarts with every received byte."""

import socket
import threading
import time
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class Deadline:
    """Shuts down the sockets of DeadlineAdapter once `seconds` have passed in its block."""

    current: ContextVar["Deadline"] = ContextVar("deadline")

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.timers: list[threading.Timer] = []

    def __enter__(self) -> Self:
        self.outer: Token[Deadline] = self.current.set(self)
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.current.reset(self.outer)
        for timer in self.timers:
            timer.cancel()

    def remaining_seconds(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        timer = threading.Timer(self.remaining_seconds(), shut_down, [connection])
        timer.daemon = True
        timer.start()
        self.timers.append(timer)


def shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # already closed
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # the plain method for TLS too: it sends no close_notify


class WatchedConnection(HTTPConnection):
    def getresponse(self) -> Any:
        Deadline.current.get().watch(self.sock)
        return super().getresponse()


class WatchedTLSConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        Deadline.current.get().watch(self.sock)
        return super().getresponse()


class WatchedPool(HTTPConnectionPool):
    ConnectionCls = WatchedConnection


class WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = WatchedTLSConnection


class DeadlineAdapter(HTTPAdapter):
    """A transport adapter for requests that obeys the surrounding Deadline."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": WatchedPool, "https": WatchedTLSPool}
