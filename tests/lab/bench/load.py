"""The load generator: keep-alive connections, in processes of their own.

A small client instead of wrk, which needs a script in Lua for each case and is not on every machine, or locust, which
brings its own event loop. Its own CPU time is never counted.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from itertools import cycle, takewhile
from multiprocessing import get_context
from typing import Any

from tests.lab.client import TIMEOUT_SECONDS

LINES_READ = 1 << 16  # bytes at once
OK = range(200, 300)
MAX_SECONDS = 3  # for the least number of requests
NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `expected` is the only status that is not an error; None allows any 2xx."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    expected: int | None = None

    def is_error(self, status: int) -> bool:
        return status not in OK if self.expected is None else status != self.expected


@dataclass(frozen=True, slots=True)
class Sample:
    """One response. `ended_at` is from time.monotonic(), which all processes share. `status` 0: there was none."""

    ended_at: float
    seconds: float
    status: int
    is_error: bool


@dataclass(frozen=True, slots=True)
class Load:
    """Calls that are repeated in turn over one connection, each when the last is answered or at a fixed rate."""

    port: int
    calls: tuple[Call, ...]
    token: str = ""
    source: str = "127.0.0.1"
    pause_after_error_seconds: float = 0.1
    per_second: float = 0

    def headers(self, call: Call) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        content = {"Content-Type": "application/json"} if call.body is not None else {}
        return authorization | content | call.headers

    def after(self, count: int) -> "Load":
        """Return the load that goes on after some calls."""
        start = count % len(self.calls)
        return replace(self, calls=self.calls[start:] + self.calls[:start])


class Connection:
    """A kept-alive connection, opened again after a failure."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.http = HTTPConnection("127.0.0.1", load.port, timeout=TIMEOUT_SECONDS, source_address=(load.source, 0))

    def send(self, call: Call) -> Sample:
        body = None if call.body is None else json.dumps(call.body)
        headers = self.load.headers(call)
        began = time.monotonic()
        try:
            self.http.request(call.method, call.path, body, headers)
            response = self.http.getresponse()
            response.read()
            status = response.status
        except (OSError, HTTPException):
            self.http.close()
            status = 0
        ended = time.monotonic()
        return Sample(ended, ended - began, status, call.is_error(status))


def drive(load: Load, seconds: float, at_least: int = 1) -> list[Sample]:
    """Send for some seconds, and at least some requests, unless that takes too long."""
    connection = Connection(load)
    began = time.monotonic()
    samples: list[Sample] = []

    def goes_on(_: Call) -> bool:
        passed = time.monotonic() - began
        return not samples or passed < seconds or (len(samples) < at_least and passed < MAX_SECONDS)

    for call in takewhile(goes_on, cycle(load.calls)):
        samples.append(connection.send(call))
        if samples[-1].is_error:
            time.sleep(load.pause_after_error_seconds)
        if load.per_second:
            time.sleep(max(0.0, began + len(samples) / load.per_second - time.monotonic()))
    connection.http.close()
    return samples


def drive_all(loads: list[Load], seconds: float) -> list[Sample]:
    """Drive many connections at once, from the threads of one process."""
    with ThreadPoolExecutor(len(loads)) as pool:
        return [sample for samples in pool.map(drive, loads, [seconds] * len(loads)) for sample in samples]


def entity_tag(load: Load) -> str | None:
    """Return the tag of the first call's response."""
    connection, call = Connection(load), load.calls[0]
    connection.http.request(call.method, call.path, headers=load.headers(call))
    response = connection.http.getresponse()
    response.read()
    connection.http.close()
    return response.getheader("ETag")


def count_lines(load: Load) -> tuple[int, int]:
    """Download the first call's file; return the status and the number of lines, or -1 if it is broken off."""
    connection = Connection(load)
    (call,) = load.calls
    connection.http.request(call.method, call.path, headers=load.headers(call))
    response = connection.http.getresponse()
    lines = 0
    try:
        while chunk := response.read(LINES_READ):
            lines += chunk.count(b"\n")
    except (OSError, HTTPException):
        lines = -1
    finally:
        connection.http.close()
    return response.status, lines


class Generators:
    """Processes that send requests."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool

    def send(self, load: Load, seconds: float, at_least: int = 1) -> list[Sample]:
        return self.start(load, seconds, at_least).result()

    def start(self, load: Load, seconds: float, at_least: int = 1) -> Future[list[Sample]]:
        return self.pool.submit(drive, load, seconds, at_least)

    def start_all(self, loads: list[Load], seconds: float) -> Future[list[Sample]]:
        return self.pool.submit(drive_all, loads, seconds)

    def start_download(self, load: Load) -> Future[tuple[int, int]]:
        return self.pool.submit(count_lines, load)


@contextmanager
def generators(processes: int) -> Iterator[Generators]:
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield Generators(pool)
