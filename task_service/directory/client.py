"""Looks users up in the user service over HTTP, and believes nothing that is not as agreed.

A whole look-up takes 2 seconds at most. No redirect is followed, no answer over 64 kB is read, and one that has
another shape than agreed counts as no answer.
"""

import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import requests
import urllib3
from django.conf import settings
from rest_framework.exceptions import ParseError

from chassis import request_id, tokens
from chassis.strict_json import loads
from directory.deadline import Deadline, DeadlineAdapter

CONNECT_SECONDS = 0.5
READ_SECONDS = 0.7  # at most, for one attempt to begin its answer
WHOLE_SECONDS = 2.0
LARGEST_ANSWER_BYTES = 64 * 1024
# What a connection can break with: requests' errors up to the headers, urllib3's while the body is read.
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)

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
    """Return the connection pool of this process. Proxies of the environment have no say."""
    pool = requests.Session()
    pool.trust_env = False
    pool.mount("http://", DeadlineAdapter())
    pool.mount("https://", DeadlineAdapter())
    return pool


POOL = session()


def look_up(ids: Iterable[int]) -> dict[int, Person]:
    """Return the accounts that exist among `ids` (at most 100), by id, or raise DirectoryUnavailable."""
    wanted = {int(id_) for id_ in ids}
    try:
        body = get("/internal/users/", {"ids": ",".join(map(str, sorted(wanted)))})
        people = {person.id: person for person in map(person_from, body["results"])}
        if not people.keys() <= wanted:
            raise ValueError("answered for other ids than were asked")
    except (*BROKEN, ParseError, KeyError, TypeError, ValueError) as error:
        log.warning("user service: %s: %s", type(error).__name__, error)
        raise DirectoryUnavailable() from error
    return people


def get(path: str, params: dict[str, str]) -> Any:
    """Return the JSON of an answer. A connection that breaks is tried once more while there is time."""
    with Deadline(WHOLE_SECONDS) as deadline:
        try:
            return loads(answer(path, params))
        except BROKEN as error:
            pause = random.uniform(0.05, 0.15)  # not all at the same instant
            if deadline.remaining_seconds() <= pause:
                raise
            log.info("user service: %s: %s; trying once more", type(error).__name__, error)
            time.sleep(pause)
            return loads(answer(path, params))


def answer(path: str, params: dict[str, str]) -> bytes:
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
        return body_of(response)


def body_of(response: requests.Response) -> bytes:
    """Read the body in whatever pieces it comes, up to the size that is allowed."""
    body = bytearray()
    for piece in iter(lambda: response.raw.read1(LARGEST_ANSWER_BYTES, decode_content=True), b""):
        body += piece
        if len(body) > LARGEST_ANSWER_BYTES:
            raise ValueError(f"answered more than {LARGEST_ANSWER_BYTES} bytes")
    return bytes(body)


def person_from(row: dict[str, Any]) -> Person:
    """Take the fields that are agreed on; a newer user service may send more."""
    fields = {name: row[name] for name in Person.__annotations__}
    for name, kind in Person.__annotations__.items():
        if type(fields[name]) is not kind:
            raise TypeError(f"{name} is not a {kind.__name__}")
    return Person(**fields)
