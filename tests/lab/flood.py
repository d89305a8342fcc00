"""One client floods the stack over many connections while users at other addresses work."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tests.lab.trial import Trial

FLOODER = "127.0.0.90"
CONNECTIONS = 90
MIN_SERVED_SHARE = 0.95
MIN_REQUESTS = 40  # of the other users, per kind of flood
MAX_SECONDS_EACH = 20
POLL_SECONDS = 0.05


@dataclass
class Flood:
    """Repeats the same request on many connections."""

    port: int
    request: bytes
    statuses: Counter[int] = field(default_factory=Counter)
    is_over: bool = False

    def run(self) -> None:
        asyncio.run(self.run_connections())

    async def run_connections(self) -> None:
        await asyncio.gather(*(self.repeat() for _ in range(CONNECTIONS)))

    async def repeat(self) -> None:
        while not self.is_over:
            try:
                await self.use_connection()
            except (OSError, asyncio.IncompleteReadError):  # closed: open another one
                await asyncio.sleep(POLL_SECONDS)

    async def use_connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(FLOODER, 0))
        try:
            while not self.is_over:
                writer.write(self.request)
                self.statuses[await read_answer(reader)] += 1
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Read a whole response and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    if length := fields.get("content-length"):
        await reader.readexactly(int(length))
    else:
        await reader.readuntil(b"0\r\n\r\n")  # the last chunk
    return int(head[0].split(" ")[1])


def flood(trial: Trial) -> str:
    """Flood with one kind of request after another, and measure how many of the others are served."""
    calls = requests(trial)
    seconds = trial.seconds / len(calls)
    shares = {name: served_share(trial, name, request, seconds=seconds) for name, request in calls.items()}
    worst = min(shares, key=lambda name: shares[name])
    return f"{CONNECTIONS} connections of one client, others served {shares[worst]:.1%} at worst ({worst})"


def requests(trial: Trial) -> dict[str, bytes]:
    token = trial.prober.tokens["access"]
    return {
        "health": as_bytes("GET", "/task/health/ready/"),
        "documentation": as_bytes("GET", "/user/docs/"),
        "a path that does not exist": as_bytes("GET", "/nothing/"),
        "a token that is none": as_bytes("POST", "/token/verify/", {"token": "x"}),
        "a summary": as_bytes("GET", "/task/tasks/summary/", Authorization=f"Bearer {token}"),
    }


def as_bytes(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(content))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


def served_share(trial: Trial, name: str, request: bytes, *, seconds: float) -> float:
    """Return the share of other users' requests that are served during a flood."""
    trial.load.wait_until_served()
    with trial.load.fault(), flooding(trial.scene.port, request) as flood:
        began = time.monotonic()
        while (now := time.monotonic()) < began + MAX_SECONDS_EACH:
            sent = [each for each in trial.load.sent if each.begun_at >= began]
            if len(sent) >= MIN_REQUESTS and flood.statuses and now > began + seconds:
                break
            time.sleep(POLL_SECONDS)
    share = sum(each.answer.ok for each in sent) / max(1, len(sent))
    trial.expect(share >= MIN_SERVED_SHARE, f"others were served {share:.1%} while one client asked for {name}")
    answered = ", ".join(f"{count} x {status}" for status, count in sorted(flood.statuses.items()))
    is_expected = all(status < HTTPStatus.INTERNAL_SERVER_ERROR for status in flood.statuses)
    trial.expect(bool(flood.statuses) and is_expected, f"the client that asked for {name} got {answered or 'nothing'}")
    return share


@contextmanager
def flooding(port: int, request: bytes) -> Iterator[Flood]:
    flood = Flood(port, request)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(flood.run)
        try:
            yield flood
        finally:
            flood.is_over = True
            running.result()
