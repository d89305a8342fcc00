"""Reads the RateLimit headers of responses (draft-ietf-httpapi-ratelimit-headers-11), and sets limits for a test."""

import re
from typing import NamedTuple

POLICY = re.compile(r'"([a-z-]+)";q=([0-9]+);w=([0-9]+)')
STATE = re.compile(r'"([a-z-]+)";r=([0-9]+);t=([0-9]+)')


class Limit(NamedTuple):
    """A limit in a response: `left` of `quota` requests in a window of `window` seconds that ends in `ends_in`."""

    scope: str
    quota: int
    window: int
    left: int
    ends_in: int


def read_limits(answer):
    """Return all limits of a response; it has both headers or neither."""
    headers = answer.headers
    assert ("RateLimit" in headers) == ("RateLimit-Policy" in headers)
    policies, states = (
        headers[name].split(", ") if name in headers else [] for name in ("RateLimit-Policy", "RateLimit")
    )
    limits = []
    for policy, state in zip(policies, states, strict=True):
        scope, quota, window = POLICY.fullmatch(policy).groups()
        same_scope, left, ends_in = STATE.fullmatch(state).groups()
        assert scope == same_scope
        limits.append(Limit(scope, int(quota), int(window), int(left), int(ends_in)))
    return limits


def read_limit(answer):
    """Return the only limit of a response."""
    (limit,) = read_limits(answer)
    return limit


def read_retry_after(answer):
    """Return Retry-After of a 429, which is when the window ends."""
    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert answer.headers["Content-Type"] == "application/problem+json"
    wait = int(answer.headers["Retry-After"])
    assert wait == max(limit.ends_in for limit in read_limits(answer) if limit.left == 0)
    return wait


def set_limits(settings, **rates):
    """Set the rates of these scopes only, in pytest-django's `settings`."""
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
