"""A time limit for a whole HTTP call. A read timeout is none: it starts anew with every byte that drips in."""

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
    """In its block, the sockets that DeadlineAdapter reads from are shut down when `seconds` have passed."""

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
    with suppress(OSError):  # it was closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # the plain one, for a TLS socket too: no goodbye is said


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
    """A transport of requests that keeps to the Deadline in whose block it is used."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": WatchedPool, "https": WatchedTLSPool}
