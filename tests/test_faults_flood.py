"""The verdict of scripts/faults flood."""

import math
import re
from contextlib import nullcontext
from types import SimpleNamespace

from tests.lab import flood
from tests.lab.client import Answer, SentRequest
from tests.lab.trial import Trial
from tests.raw_http import FakeService, answer

SERVED, REFUSED = (
    SentRequest("x-1", "read tasks", "GET", "/task/tasks/", begun_at=math.inf, seconds=0.1, answer=Answer(status, {}))
    for status in (200, 503)
)


def found(behavior, *, served, refused):
    """Return the problems of a flood with so many served and rejected requests of others."""
    load = SimpleNamespace(
        sent=[SERVED] * served + [REFUSED] * refused, fault=nullcontext, wait_until_served=lambda: None
    )
    with FakeService() as service:
        service.behavior = behavior
        trial = Trial(SimpleNamespace(port=service.port), load, None, None, seconds=0, is_long=False)
        flood.served_share(trial, "a page", flood.as_bytes("GET", "/"), seconds=0)
    return trial.found


def test_95_percent_served_is_enough():
    assert found(answer(), served=95, refused=5) == []


def test_less_than_95_percent_served_is_a_failure():
    assert found(answer(), served=94, refused=6) == ["others were served 94.0% while one client asked for a page"]


def test_a_flood_that_makes_the_server_fail_is_not_survived():
    (text,) = found(answer("500 Internal Server Error"), served=100, refused=0)

    assert re.fullmatch("the client that asked for a page got [0-9]+ x 500", text)
