"""Checks of the directory: its lag behind the user service, and the difference of their clocks."""

import math

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from chassis.ops import findings
from chassis.ops.checks import Check
from chassis.ops.findings import Finding, Gauge, State, duration, manage_command, ok, wrong
from chassis.ops.metrics import ProcessGauge
from directory import client
from directory.models import Feed

MAX_LAG_SECONDS = 60

ProcessGauge(
    "tmservice_directory_breaker_open",
    "Whether a process has stopped calling the user service after repeated failures.",
    lambda: float(client.BREAKER.failures >= client.BREAKER.max_failures),
)


def directory() -> Finding:
    since = ExpressionWrapper(Now() - F("pulled_at"), DurationField())
    read = Feed.objects.annotate(since=since).values("since", "position").first()
    lag = read["since"].total_seconds() if read and read["since"] is not None else math.nan
    position = read["position"] if read else 0
    gauges = (
        Gauge("tmservice_directory_lag_seconds", "Age of the last read of the feed of changed accounts.", lag),
        Gauge("tmservice_directory_position", "Position in the feed of changed accounts.", position),
    )
    if math.isnan(lag):
        remedy = f"start a worker: {manage_command('run_worker')}"
        return wrong(f"the accounts were never read from the user service; {remedy}", gauges)
    text = f"the accounts were last read {duration(lag)} ago, up to change {position}"
    if lag > MAX_LAG_SECONDS:
        remedy = "the worker does this continuously: is it running, and does the user service respond?"
        return wrong(f"{text}; {remedy}", gauges)
    return ok(text, gauges)


def clock() -> Finding:
    feed = Feed.objects.first()
    return findings.clock((feed and feed.clock_difference_seconds) or 0.0, whose="that of the user service")


CHECKS = [
    Check("directory", directory, measured=True),
    Check("user clock", clock, degrades=(State.UNSURE, State.WRONG)),
]
