"""Figures for Prometheus. The gateway routes no /metrics/, and a token opens it.

What the database knows is read when it is asked for. What happens in a process is counted there; under gunicorn, where
any worker may be asked, each tells the sums over all of them (see chassis.ops.web_server).
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from time import perf_counter
from typing import Any

from django.db import Error
from django.db.models import Max, QuerySet
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from chassis.auth.signals import request_limited
from chassis.ops import health, logs

Figure = tuple[str, str, float]  # a name with its unit, what it tells, and its value
Gauges = Callable[[], Iterable[Figure]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# So that an outbox of whatever size costs a scrape some milliseconds.
MOST_COUNTED, NEWEST = 10_000, 100_000
# prometheus_client looks at the same variable when it is imported.
SEVERAL_PROCESSES = "PROMETHEUS_MULTIPROC_DIR" in os.environ

log = logging.getLogger(__name__)

disable_created_metrics()
COUNTED = CollectorRegistry()
REQUESTS = Counter(
    "tmservice_requests_total", "Requests that were answered.", ["method", "route", "status"], registry=COUNTED
)
SECONDS = Histogram(
    "tmservice_request_seconds",
    "How long requests took until their answer began.",
    ["method", "route"],
    buckets=BUCKETS,
    registry=COUNTED,
)
LIMITED = Counter("tmservice_limited_total", "Requests that a limit refused.", ["scope"], registry=COUNTED)
LOG_ERRORS = Counter("tmservice_log_errors_total", "Log lines that could not be written.", registry=COUNTED)


@receiver(request_limited)
def count_limited(scope: str, **_: Any) -> None:
    LIMITED.labels(scope).inc()


@receiver(logs.line_lost)
def count_lost_line(**_: Any) -> None:
    LOG_ERRORS.inc()


class ProcessGauge:
    """A figure that each process has one of its own of. What is told is the largest among those that live."""

    every: list["ProcessGauge"] = []

    def __init__(self, name: str, tells: str, read: Callable[[], float]) -> None:
        self.gauge = Gauge(name, tells, multiprocess_mode="livemax", registry=COUNTED)
        self.read, self.told = read, 0.0
        self.every.append(self)

    def refresh(self) -> None:
        if (value := self.read()) != self.told:
            self.gauge.set(value)
            self.told = value


class MetricsMiddleware:
    """Measures every request, those for health and metrics too: they have routes of their own to be left out by."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = perf_counter()
        status = 500  # what gunicorn answers when it stops a worker that has taken too long
        try:
            response = self.get_response(request)
            status = response.status_code
        finally:
            measure(request, status, perf_counter() - began)
        return response


def measure(request: HttpRequest, status: int, seconds: float) -> None:
    method = request.method if request.method in METHODS else "other"
    route = request.resolver_match.route if request.resolver_match else "none"
    counter, histogram = series(method, route, status)
    counter.inc()
    histogram.observe(seconds)
    for gauge in ProcessGauge.every:
        gauge.refresh()


@cache
def series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


class Figures(Collector):
    def __init__(self, figures: Iterable[Figure]) -> None:
        self.figures = figures

    def collect(self) -> Iterator[Metric]:
        for name, tells, value in self.figures:
            yield GaugeMetricFamily(name, tells, value=value)


def metrics(request: HttpRequest, sources: Iterable[Gauges]) -> HttpResponse:
    """Answer whoever sends METRICS_TOKEN as a bearer token; for everybody else there is nothing here."""
    if refusal := health.not_a_read(request):
        return refusal
    if not health.has_metrics_token(request):
        raise Http404
    registry = CollectorRegistry()
    registry.register(Figures(of_the_database(sources)))
    if SEVERAL_PROCESSES:
        MultiProcessCollector(registry)
    else:
        registry.register(COUNTED)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def of_the_database(sources: Iterable[Gauges]) -> list[Figure]:
    """Return what the database tells. Where it cannot be used, that is all there is: no figure of it is made up."""
    up = ("tmservice_database_up", "Whether the database answers, migrated and under a fitting role.")
    try:
        state = health.ask_database()
        if state.refusal is None:
            apart = state.clock_difference.total_seconds()
            clock = ("tmservice_clock_difference_seconds", "How far our clock and the database's are apart.", apart)
            return [(*up, 1.0), clock, *chain.from_iterable(source() for source in sources)]
    except Error as error:
        log.warning("metrics: %s: %s", type(error).__name__, error)
    return [(*up, 0.0)]


def of_outbox(messages: QuerySet[Any], noun: str) -> Iterator[Figure]:
    """Yield the figures of an outbox, whose messages are called `noun`, in the plural."""
    waiting = messages.filter(state="planned")[:MOST_COUNTED].count()
    yield f"tmservice_{noun}_waiting", f"How many {noun} wait to be sent, counted up to {MOST_COUNTED}.", waiting
    newest = messages.aggregate(newest=Max("pk"))["newest"] or 0
    failed = messages.filter(state="failed", pk__gt=newest - NEWEST).count()
    yield f"tmservice_{noun}_failed", f"How many of the newest {NEWEST} {noun} were dead-lettered.", failed


def urls(*sources: Gauges) -> list[URLPattern]:
    return [path("metrics/", metrics, {"sources": sources})]
