"""Looks users up in the user service over HTTP, and believes nothing that is not as agreed.

A whole look-up takes 2 seconds at most. No redirect is followed, no answer over 64 kB is read, and one that has
another shape than agreed counts as no answer.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from rest_framework.exceptions import ParseError
from urllib3 import Retry

from chassis import request_id, tokens
from chassis.strict_json import loads

CONNECT_SECONDS = 0.5
READ_SECONDS = 0.7  # at most, for one attempt to begin its answer
WHOLE_SECONDS = 2.0
LARGEST_ANSWER_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class DirectoryUnavailable(Exception):
    """The user service gave no answer that can be relied on."""


@dataclass(frozen=True, slots=True)
class Person:
    """An account of the user service, as it was when it was looked up."""

    id: int
    username: str
    email: str
    role: str
    is_active: bool


def session() -> requests.Session:
    """Return the connection pool of this process: one retry of a GET, no proxies from the environment."""
    pool = requests.Session()
    pool.trust_env = False
    retry = Retry(total=1, connect=1, read=1, redirect=0, status=0, other=0, backoff_factor=0.1, backoff_jitter=0.1)
    pool.mount("http://", HTTPAdapter(max_retries=retry))
    pool.mount("https://", HTTPAdapter(max_retries=retry))
    return pool


POOL = session()


def look_up(ids: Iterable[int]) -> dict[int, Person]:
    """Return the accounts that exist among `ids` (at most 100), by id, or raise DirectoryUnavailable."""
    wanted = {int(id_) for id_ in ids}
    try:
        body = get("/internal/users/", {"ids": ",".join(map(str, sorted(wanted)))})
        people = {person.id: person for person in map(person_from, body["results"])}
    except (requests.RequestException, ParseError, KeyError, TypeError, ValueError) as error:
        log.warning("user service: %s: %s", type(error).__name__, error)
        raise DirectoryUnavailable() from error
    if not people.keys() <= wanted:
        log.warning("user service: answered for other ids than were asked")
        raise DirectoryUnavailable()
    return people


def get(path: str, params: dict[str, str]) -> Any:
    deadline = time.monotonic() + WHOLE_SECONDS
    headers = {
        "Authorization": f"Bearer {tokens.issue_service_token(settings.SERVICE)}",
        request_id.HEADER: request_id.current.get(),
    }
    with POOL.get(
        settings.USER_SERVICE_URL + path,
        params=params,
        headers=headers,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
        allow_redirects=False,
        stream=True,
    ) as response:
        if response.status_code != HTTPStatus.OK:
            raise ValueError(f"answered {response.status_code}")
        return loads(read_within(response, deadline))


def read_within(response: requests.Response, deadline: float) -> bytes:
    """Read the body in whatever pieces it comes, up to the size and the instant that are allowed."""
    body = bytearray()
    for piece in iter(lambda: response.raw.read1(LARGEST_ANSWER_BYTES, decode_content=True), b""):
        body += piece
        if len(body) > LARGEST_ANSWER_BYTES:
            raise ValueError(f"answered more than {LARGEST_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline:
            raise ValueError(f"took longer than {WHOLE_SECONDS} seconds")
    return bytes(body)


def person_from(row: dict[str, Any]) -> Person:
    person = Person(**row)
    for name, kind in Person.__annotations__.items():
        if type(getattr(person, name)) is not kind:
            raise TypeError(f"{name} is not a {kind.__name__}")
    return person
