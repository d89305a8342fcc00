"""The lag of the directory behind the user service, and the difference of their clocks."""

import math
from collections.abc import Iterator
from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from chassis.ops.health import MOST_CLOCK_DIFFERENCE
from chassis.ops.metrics import Figure, ProcessGauge
from directory import client
from directory.models import Feed

ProcessGauge(
    "tmservice_directory_breaker_open",
    "Whether a process has stopped calling the user service after repeated failures.",
    lambda: float(client.BREAKER.failures >= client.BREAKER.max_failures),
)


def concerns() -> Iterator[str]:
    feed = Feed.objects.first()
    apart = timedelta(seconds=(feed and feed.clock_difference_seconds) or 0)
    if apart > MOST_CLOCK_DIFFERENCE:
        seconds = f"{apart.total_seconds():.0f} seconds"
        yield f"The clocks of this machine and of the user service are {seconds} apart; does each follow a time server?"


def gauges() -> Iterator[Figure]:
    """Yield the metrics of the directory. The lag of a feed that was never read is NaN."""
    lag = ExpressionWrapper(Now() - F("pulled_at"), DurationField())
    read = Feed.objects.annotate(lag=lag).values("lag", "position").first()
    seconds = read["lag"].total_seconds() if read and read["lag"] is not None else math.nan
    yield "tmservice_directory_lag_seconds", "Age of the last read of the feed of changed accounts.", seconds
    position = read["position"] if read else 0
    yield "tmservice_directory_position", "Position in the feed of changed accounts.", position
