"""Metrics for Prometheus. /metrics/ needs a token and is not routed by the gateway.

Gauges from the database are read for each scrape. Processes count their own events; under gunicorn, each worker returns
the sums over all of them (see chassis.ops.web_server).
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
# prometheus_client reads the same variable when it is imported.
IS_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR" in os.environ

log = logging.getLogger(__name__)

prometheus_client.disable_created_metrics()
REGISTRY = CollectorRegistry()
SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "The time until the response began.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=BUCKETS,
    registry=REGISTRY,
)
LIMITED = Counter("tmservice_limited_total", "Requests rejected by a rate limit.", ["scope"], registry=REGISTRY)
LOG_ERRORS = Counter("tmservice_log_errors_total", "Log lines that could not be written.", registry=REGISTRY)


@receiver(request_limited)
def count_limited(scope: str, **_: Any) -> None:
    LIMITED.labels(scope).inc()


@receiver(logs.line_lost)
def count_lost_line(**_: Any) -> None:
    LOG_ERRORS.inc()


class ProcessGauge:
    """A gauge with a value per process. Metrics show the maximum over live processes."""

    all: list["ProcessGauge"] = []

    def __init__(self, name: str, description: str, read: Callable[[], float]) -> None:
        self.gauge = prometheus_client.Gauge(name, description, multiprocess_mode="livemax", registry=REGISTRY)
        self.read, self.last = read, 0.0
        self.all.append(self)

    def refresh(self) -> None:
        if (value := self.read()) != self.last:
            self.gauge.set(value)
            self.last = value


class MetricsMiddleware:
    """Measures every request. Health and metrics have their own routes, so queries can exclude them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = perf_counter()
        status = 500  # the response of gunicorn when it stops a worker that timed out
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
    """The running version, and gauges from the database."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self.gauges = gauges

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily(
            "tmservice_build_info", "The running version; always 1.", labels=["version", "python_version"]
        )
        build.add_metric([chassis.__version__, platform.python_version()], 1)
        yield build
        for name, description, value in self.gauges:
            yield GaugeMetricFamily(name, description, value=value)


def metrics(request: HttpRequest, checks: Sequence[Check]) -> HttpResponse:
    """Answer a request that has METRICS_TOKEN as its bearer token; any other gets a 404."""
    if error := health.method_not_allowed(request):
        return error
    if not health.has_metrics_token(request):
        raise Http404
    registry = CollectorRegistry()
    registry.register(GaugeCollector(database_gauges(checks)))
    if IS_MULTIPROCESS:
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def database_gauges(checks: Sequence[Check]) -> list[Gauge]:
    """Return the gauges from the database; only tmservice_database_up if it cannot be used."""
    up = Gauge("tmservice_database_up", "Whether the database responds, is migrated and has a suitable role.", 1)
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
