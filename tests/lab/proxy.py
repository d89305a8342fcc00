"""A TCP proxy whose connection can be made bad while it is in use."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from threading import Thread

CHUNK_BYTES = 65536
LOOK_SECONDS = 0.02


class Toxic(Enum):
    PASS = "passes everything on"
    SILENT = "accepts, and passes nothing on in either direction"
    LATENCY = "passes answers on later"
    CUT = "resets what is open and whatever is opened"


class Proxy:
    """`target` tells the port on 127.0.0.1 at each new connection. All but `become` is for its own thread."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.target = target
        self.toxic = Toxic.PASS
        self.latency_seconds = 0.5
        self.loop = asyncio.new_event_loop()
        self.ending = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()

    def become(self, toxic: Toxic) -> None:
        self.toxic = toxic
        if toxic is Toxic.CUT:
            self.loop.call_soon_threadsafe(self.reset_all)

    def reset_all(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def listen(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(self.accept, sock=listener)
        await self.ending.wait()
        server.close()
        self.toxic = Toxic.CUT
        while self.writers:
            self.reset_all()
            await asyncio.sleep(LOOK_SECONDS)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.toxic is Toxic.CUT:
            writer.transport.abort()
            return
        self.writers.add(writer)
        try:
            await self.while_silent()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target())
            self.writers.add(far_writer)
            try:
                await asyncio.gather(
                    self.pass_on(reader, far_writer, is_answer=False), self.pass_on(far_reader, writer, is_answer=True)
                )
            finally:
                self.forget(far_writer)
        except OSError:  # one of the two is gone, so the other goes
            writer.transport.abort()
        finally:
            self.forget(writer)

    def forget(self, writer: asyncio.StreamWriter) -> None:
        self.writers.discard(writer)
        writer.close()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        """Two tasks, so that what comes close together is late by the same time, not one after the other."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(self.deliver(late, writer))
        try:
            data = b"something"
            while data:
                data = await reader.read(CHUNK_BYTES)
                await self.while_silent()
                latency = self.latency_seconds if is_answer and self.toxic is Toxic.LATENCY else 0
                late.put_nowait((self.loop.time() + latency, data))
            await delivering
        finally:
            delivering.cancel()

    async def deliver(self, late: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            due_at, data = await late.get()
            await asyncio.sleep(max(0, due_at - self.loop.time()))
            await self.while_silent()
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def while_silent(self) -> None:
        while self.toxic is Toxic.SILENT:
            await asyncio.sleep(LOOK_SECONDS)


@contextmanager
def listening(port: int, target: Callable[[], int]) -> Iterator[Proxy]:
    """Run a proxy on the port of 127.0.0.1, 0 for any, until the block ends."""
    listener = socket.create_server(("127.0.0.1", port))
    proxy = Proxy(target)
    thread = Thread(target=serve, args=[proxy, listener], daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.loop.call_soon_threadsafe(proxy.ending.set)
        thread.join()


def serve(proxy: Proxy, listener: socket.socket) -> None:
    with asyncio.Runner(loop_factory=lambda: proxy.loop) as runner:
        runner.run(proxy.listen(listener))
