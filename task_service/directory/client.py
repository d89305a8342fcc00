"""The HTTP client of the user service. It validates every response.

A lookup takes at most 2 seconds. It follows no redirects, reads at most 64 kB, and treats an invalid response as
no response.
"""

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests
import urllib3
from django.conf import settings
from rest_framework.exceptions import ParseError

from chassis import request_id
from chassis.api.strict_json import loads
from chassis.auth import tokens
from directory.breaker import Breaker
from directory.deadline import Deadline, DeadlineAdapter
from directory.person import Person

CONNECT_SECONDS = 0.5
READ_SECONDS = 0.7  # until the response of one attempt begins
TOTAL_SECONDS = 2.0
MAX_RESPONSE_BYTES = 64 * 1024
# From requests until the headers are read, then from urllib3.
CONNECTION_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)

# From the last response in this thread.
clock_difference_seconds: ContextVar[int | None] = ContextVar("clock_difference_seconds", default=None)

log = logging.getLogger(__name__)


class DirectoryUnavailable(Exception):
    """The user service gave no valid response."""


def new_session() -> requests.Session:
    """Return the connection pool of this process. It ignores proxies from the environment."""
    pool = requests.Session()
    pool.trust_env = False
    pool.mount("http://", DeadlineAdapter())
    pool.mount("https://", DeadlineAdapter())
    return pool


POOL = new_session()
BREAKER = Breaker(max_failures=2, pause_seconds=2.0)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the change feed: changed accounts, and the position to continue after."""

    people: list[Person]
    next_after: int
    more: bool

    def validate(self, after: int) -> None:
        positions = [after, *(person.position for person in self.people)]
        if (type(self.next_after), type(self.more)) != (int, bool):
            raise TypeError("next_after or more has the wrong type")
        if positions != sorted(set(positions)) or positions[-1] != self.next_after:
            raise ValueError("the positions of the feed are not in order")
        if len({person.id for person in self.people}) < len(self.people):
            raise ValueError("an account appears in the feed twice")
        if self.more and not self.people:
            raise ValueError("the feed announces more and returns nothing")


def look_up(user_id: int, *, asked_by: int) -> Person | None:
    """Return the account, None if it does not exist, or raise DirectoryUnavailable.

    `asked_by` is the user who made the request. An open breaker prevents the call.
    """
    if not BREAKER.allows_call():
        raise DirectoryUnavailable("not called: too many failures in a row")
    with counting_failures():
        body = get("/internal/users/", {"ids": user_id}, seconds=TOTAL_SECONDS, asked_by=asked_by)
        people = [Person.from_row(row) for row in body["results"]]
        if [person.id for person in people] not in ([], [user_id]):
            raise ValueError("answered for a different id")
    return people[0] if people else None


def changes(after: int, *, seconds: float) -> Page:
    """Return the page of the change feed after a position, or raise DirectoryUnavailable within `seconds`."""
    with counting_failures():
        body = get("/internal/users/changes/", {"after": after}, seconds=seconds)
        page = Page([change_from(row) for row in body["results"]], body["next_after"], body["more"])
        page.validate(after)
    return page


def change_from(row: dict[str, Any]) -> Person:
    if row["user"] is None:
        return Person.deleted(row["id"], row["position"])
    if row["user"]["id"] != row["id"]:
        raise ValueError("a change of one account contains another account")
    return Person.from_row(row["user"], position=row["position"])


@contextmanager
def counting_failures() -> Iterator[None]:
    try:
        yield
    except (*CONNECTION_ERRORS, ParseError, KeyError, TypeError, ValueError) as error:
        BREAKER.record_failure()
        log.warning("user service: %s: %s", type(error).__name__, error)
        raise DirectoryUnavailable() from error
    BREAKER.record_success()


def get(path: str, params: dict[str, int], *, seconds: float, asked_by: int | None = None) -> Any:
    """Return the JSON of the response. Retry a broken connection once, if there is time."""
    with Deadline(seconds) as deadline:
        try:
            return loads(send_request(path, params, asked_by))
        except CONNECTION_ERRORS as error:
            pause = random.uniform(0.05, 0.15)  # jitter
            if deadline.remaining_seconds() <= pause:
                raise
            log.info("user service: %s: %s; retrying once", type(error).__name__, error)
            time.sleep(pause)
            return loads(send_request(path, params, asked_by))


def send_request(path: str, params: dict[str, int], asked_by: int | None) -> bytes:
    headers = {
        "Authorization": f"Bearer {tokens.issue_service_token(settings.SERVICE, on_behalf_of=asked_by)}",
        request_id.HEADER: request_id.current.get(),
    }
    asked_at = time.time()
    clock_difference_seconds.set(None)
    with POOL.get(
        settings.USER_SERVICE_URL + path,
        params=params,
        headers=headers,
        timeout=(max(0.01, min(CONNECT_SECONDS, Deadline.current.get().remaining_seconds())), READ_SECONDS),
        allow_redirects=False,
        stream=True,
    ) as response:
        clock_difference_seconds.set(min_clock_difference(response.headers.get("Date", ""), since=asked_at))
        if response.status_code != HTTPStatus.OK:
            raise ValueError(f"answered {response.status_code}")
        return read_body(response)


def min_clock_difference(date: str, *, since: float) -> int | None:
    """Return a lower bound: a Date header has whole seconds and was written after `since`."""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return int(max(since - (theirs + 1), theirs - time.time(), 0.0))


def read_body(response: requests.Response) -> bytes:
    """Read the body in chunks, up to the maximum size."""
    body = bytearray()
    for chunk in iter(lambda: response.raw.read1(MAX_RESPONSE_BYTES, decode_content=True), b""):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise ValueError(f"answered more than {MAX_RESPONSE_BYTES} bytes")
    return bytes(body)
