"""A TCP proxy that can degrade open connections."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from queue import SimpleQueue
from threading import Thread

CHUNK_BYTES = 65536
POLL_SECONDS = 0.02


class Mode(Enum):
    PASS = "forwards everything"
    SILENT = "accepts connections but forwards nothing"
    LATENCY = "delays responses"


class Proxy:
    """`target` returns the port on 127.0.0.1 for a new connection."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.target = target
        self.mode = Mode.PASS
        self.latency_seconds = 0.5
        self.sockets: set[socket.socket] = set()

    def accept_all(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the listener was shut down
            while True:
                start(self.connect, listener.accept()[0])

    def connect(self, near: socket.socket) -> None:
        self.wait_while_silent()
        with near, suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.target())) as far:
            self.sockets |= {near, far}
            answers = start(self.pass_on, far, near, True)
            self.pass_on(near, far, False)
            answers.join()
            self.sockets -= {near, far}

    def pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        """Read and write in two threads, so that consecutive chunks have the same delay."""
        chunks: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        writing = start(self.write, chunks, sink)
        data = b"something"
        while data:
            data = receive(source)
            latency = self.latency_seconds if is_answer and self.mode is Mode.LATENCY else 0
            chunks.put((time.monotonic() + latency, data))
        writing.join()

    def write(self, chunks: "SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
        data = b"something"
        while data:
            due_at, data = chunks.get()
            time.sleep(max(0, due_at - time.monotonic()))
            self.wait_while_silent()
            with suppress(OSError):  # closed: the reading thread forwards the end
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)

    def wait_while_silent(self) -> None:
        while self.mode is Mode.SILENT:
            time.sleep(POLL_SECONDS)


def start(run: Callable[..., None], *arguments: object) -> Thread:
    thread = Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread


def receive(source: socket.socket) -> bytes:
    try:
        return source.recv(CHUNK_BYTES)
    except OSError:  # a reset counts as an end
        return b""


@contextmanager
def listening(port: int, target: Callable[[], int]) -> Iterator[Proxy]:
    """Run a proxy on a port of 127.0.0.1 (0: any) until the block ends."""
    proxy = Proxy(target)
    with socket.create_server(("127.0.0.1", port)) as listener:
        accepting = start(proxy.accept_all, listener)
        try:
            yield proxy
        finally:
            proxy.mode = Mode.PASS
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in list(proxy.sockets):
                with suppress(OSError):  # it is just closing
                    each.shutdown(socket.SHUT_RDWR)
