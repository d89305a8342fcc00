"""Figures for Prometheus, read when they are asked for. The gateway routes no /metrics/, and a token opens it."""

from collections.abc import Callable, Iterable, Iterator
from hmac import compare_digest

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis import health, problems

Gauges = Callable[[], Iterable[tuple[str, str, float]]]  # each a name with its unit, what it tells, and its value


class Figures(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self.gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, tells, value in self.gauges():
            yield GaugeMetricFamily(name, tells, value=value)


def metrics(request: HttpRequest, gauges: Gauges) -> HttpResponse:
    """Answer whoever sends METRICS_TOKEN as a bearer token; for everybody else there is nothing here."""
    if refusal := health.not_a_read(request):
        return refusal
    sent = request.headers.get("Authorization", "")
    if not settings.METRICS_TOKEN or not compare_digest(sent.encode(), f"Bearer {settings.METRICS_TOKEN}".encode()):
        raise Http404
    if reason := health.not_ready_because():
        return problems.answer(request, 503, "not_ready", reason, **{"Retry-After": "2"})
    registry = CollectorRegistry()
    registry.register(Figures(gauges))
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def urls(gauges: Gauges) -> list[URLPattern]:
    return [path("metrics/", metrics, {"gauges": gauges})]
