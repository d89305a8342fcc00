"""Rate limits, counted exactly over all processes and replicas.

One atomic statement looks up the caller and counts the request. A window opens with the first counted request and lasts
as long as the rate says; rejected requests do not extend it.
"""

import json
import math
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle

from chassis import prepared
from chassis.compiled_query import CompiledQuery

ANON = "anon"
# `counted_as` has one row {key, seconds} or none. statement_timestamp() is fixed during a statement: with a running
# clock, a window could get a new count without a new end.
COUNT = """
    INSERT INTO chassis_window AS known (key, ends_at, requests)
    SELECT key, statement_timestamp() + make_interval(secs => seconds), 1 FROM counted_as
    ON CONFLICT (key) DO UPDATE SET
        requests = CASE WHEN known.ends_at <= statement_timestamp() THEN 1 ELSE known.requests + 1 END,
        not_modified = CASE WHEN known.ends_at <= statement_timestamp() THEN 0 ELSE known.not_modified END,
        ends_at = CASE WHEN known.ends_at <= statement_timestamp() THEN excluded.ends_at ELSE known.ends_at END
    RETURNING key, requests, ends_at, extract(epoch FROM ends_at - statement_timestamp())::float AS seconds_left
"""
COUNT_ONE = f"WITH counted_as AS (SELECT %s::text AS key, %s::float AS seconds) {COUNT}"
# A caller who is not current is not counted here, because the scope is unknown.
COUNT_CALLER = """
    WITH caller AS ({queryset}),
    counted_as AS (
        SELECT 'user ' || caller_id AS key, (%s::jsonb ->> role)::float AS seconds FROM caller
        WHERE is_current AND %s::jsonb ->> role IS NOT NULL
    ),
    counted AS ({count})
    SELECT counted.*, caller.* FROM caller LEFT JOIN counted ON true
"""
# Of the request's window, unless the next one has begun.
REFUND = "UPDATE chassis_window SET requests = least(requests, %s) - 1 WHERE key = %s AND ends_at = %s"
REFUND_NOT_MODIFIED = """
    UPDATE chassis_window SET requests = least(requests, %s) - 1, not_modified = not_modified + 1
    WHERE key = %s AND ends_at = %s AND not_modified < %s
"""
COUNT_COLUMNS = ("key", "requests", "ends_at", "seconds_left")


@dataclass(frozen=True, slots=True)
class Rate:
    """`requests` per `seconds`."""

    requests: int
    seconds: int


def rates() -> dict[str, Rate]:
    """Return the rate of each limited scope, from DEFAULT_THROTTLE_RATES in DRF's settings, where None means "off"."""
    return parse_rates(tuple(api_settings.DEFAULT_THROTTLE_RATES.items()))


@lru_cache(maxsize=1)
def parse_rates(rates: tuple[tuple[str, str | None], ...]) -> dict[str, Rate]:
    parse = SimpleRateThrottle.parse_rate
    return {
        scope: Rate(*parse(None, rate))  # type: ignore[arg-type]  # it uses no `self`
        for scope, rate in rates
        if rate is not None
    }


@dataclass(frozen=True, slots=True)
class CountedRequest:
    """A counted request: its ordinal in the window, and when the window ends."""

    key: str
    number: int
    ends_at: datetime
    seconds_left: float

    def refund(self, *, max_requests: int) -> "CountedRequest":
        """Remove the request from its window and return the new count.

        Requests over the limit are removed too: they were rejected, so they must not use the freed slot.
        """
        return self.refunded() if update(REFUND, [max_requests, self.key, self.ends_at]) else self

    def refund_not_modified(self, *, max_requests: int) -> "CountedRequest":
        """Do the same for a 304, at most `max_requests` times per window: the client controls the condition."""
        values = [max_requests, self.key, self.ends_at, max_requests]
        return self.refunded() if update(REFUND_NOT_MODIFIED, values) else self

    def refunded(self) -> "CountedRequest":
        return replace(self, number=self.number - 1)


@dataclass(frozen=True, slots=True)
class Allowance:
    """A rate and its use after a counted request (draft-ietf-httpapi-ratelimit-headers-11)."""

    scope: str
    rate: Rate
    counted: CountedRequest

    @property
    def is_exhausted(self) -> bool:
        return self.counted.number > self.rate.requests

    @property
    def wait_seconds(self) -> int:
        return max(1, math.ceil(self.counted.seconds_left))

    def refund(self) -> "Allowance":
        return replace(self, counted=self.counted.refund(max_requests=self.rate.requests))

    def refund_not_modified(self) -> "Allowance":
        return replace(self, counted=self.counted.refund_not_modified(max_requests=self.rate.requests))

    @property
    def policy(self) -> str:
        return f'"{self.scope}";q={self.rate.requests};w={self.rate.seconds}'

    @property
    def state(self) -> str:
        return f'"{self.scope}";r={max(0, self.rate.requests - self.counted.number)};t={self.wait_seconds}'


def update(statement: str, values: list[Any]) -> bool:
    with connection.cursor() as cursor:
        prepared.execute(cursor, statement, values)
        return bool(cursor.rowcount)


def count(key: str, rate: Rate) -> CountedRequest:
    with connection.cursor() as cursor:
        prepared.execute(cursor, COUNT_ONE, [key, rate.seconds])
        return CountedRequest(*cursor.fetchone())


def spend(scope: str, rate: Rate, key: str) -> Allowance:
    return Allowance(scope, rate, count(key, rate))


class CallerQuery(CompiledQuery):
    """Looks up a caller and counts the request in one statement.

    The queryset returns dictionaries with at least `caller_id`, `role` and `is_current`: whether the token matches the
    caller's current rights.
    """

    template = COUNT_CALLER.replace("{count}", COUNT)

    def run(self, **values: Any) -> tuple[dict[str, Any] | None, CountedRequest | None]:
        """Return the caller's row, if any, and the count if the caller is current and has a rate."""
        seconds = window_seconds()
        row = self.first(seconds, seconds, **values)
        if row is None:
            return None, None
        counted = CountedRequest(*(row.pop(name) for name in COUNT_COLUMNS))
        return row, counted if counted.key is not None else None


def window_seconds() -> str:
    """Return the length of each scope's window as JSON."""
    return json.dumps({scope: rate.seconds for scope, rate in rates().items()})
