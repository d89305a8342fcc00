"""Metrics for Prometheus. The gateway routes no /metrics/, and a token opens it.

What the database knows is read for each scrape. What happens in a process is counted there; under gunicorn, where any
worker may be asked, each answers the sums over all of them (see chassis.ops.web_server).
"""

import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from time import perf_counter
from typing import Any

import prometheus_client
from django.db import Error
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

import chassis
from chassis.auth.signals import request_limited
from chassis.ops import health, logs
from chassis.ops.checks import Check, common_checks, examine_database
from chassis.ops.findings import Gauge

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Names, labels and buckets of the HTTP histogram are those of OpenTelemetry's semantic conventions.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# prometheus_client looks at the same variable when it is imported.
SEVERAL_PROCESSES = "PROMETHEUS_MULTIPROC_DIR" in os.environ

log = logging.getLogger(__name__)

prometheus_client.disable_created_metrics()
COUNTED = CollectorRegistry()
SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "How long requests took until their answer began.",
    ["http_request_method", "http_route", "http_response_status_code"],
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
    """A number that each process has its own value of. Metrics show the largest of the processes that live."""

    all: list["ProcessGauge"] = []

    def __init__(self, name: str, description: str, read: Callable[[], float]) -> None:
        self.gauge = prometheus_client.Gauge(name, description, multiprocess_mode="livemax", registry=COUNTED)
        self.read, self.last = read, 0.0
        self.all.append(self)

    def refresh(self) -> None:
        if (value := self.read()) != self.last:
            self.gauge.set(value)
            self.last = value


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
    method = request.method if request.method in METHODS else "_OTHER"
    route = request.resolver_match.route if request.resolver_match else "none"
    histogram(method, route, status).observe(seconds)
    for gauge in ProcessGauge.all:
        gauge.refresh()


@cache
def histogram(method: str, route: str, status: int) -> Histogram:
    return SECONDS.labels(method, route, status)


class GaugeCollector(Collector):
    """The version that runs, and what the database knows."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self.gauges = gauges

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("tmservice_build_info", "What runs; always 1.", labels=["version", "python_version"])
        build.add_metric([chassis.__version__, platform.python_version()], 1)
        yield build
        for name, description, value in self.gauges:
            yield GaugeMetricFamily(name, description, value=value)


def metrics(request: HttpRequest, checks: Sequence[Check]) -> HttpResponse:
    """Answer whoever sends METRICS_TOKEN as a bearer token; for everybody else there is nothing here."""
    if error := health.method_not_allowed(request):
        return error
    if not health.has_metrics_token(request):
        raise Http404
    registry = CollectorRegistry()
    registry.register(GaugeCollector(database_gauges(checks)))
    if SEVERAL_PROCESSES:
        MultiProcessCollector(registry)
    else:
        registry.register(COUNTED)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def database_gauges(checks: Sequence[Check]) -> list[Gauge]:
    """Return what the database knows. Where it cannot be used, that is the only gauge: no value is invented."""
    up = Gauge("tmservice_database_up", "Whether the database answers, migrated and under a fitting role.", 1)
    problem, server = examine_database()
    try:
        if server and not problem:
            measured = [check for check in (*common_checks(server), *checks) if check.measured]
            return [up, *chain.from_iterable(check.find().gauges for check in measured)]
    except Error as error:
        log.warning("metrics: %s: %s", type(error).__name__, error)
    return [up._replace(value=0)]


def urls(*, checks: Sequence[Check]) -> list[URLPattern]:
    return [path("metrics/", metrics, {"checks": checks})]
