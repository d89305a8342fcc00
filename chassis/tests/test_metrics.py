import platform

import pytest
from django.db import ProgrammingError, connection
from django.http import Http404, HttpResponse
from django.test import RequestFactory
from prometheus_client.parser import text_string_to_metric_families

import chassis
from chassis.ops import metrics
from chassis.ops.checks import Check
from chassis.ops.findings import Gauge, ok

pytestmark = pytest.mark.django_db

TOKEN = "prometheus-may-read-this-0123456789"
OTHER, NONE = "_OTHER", "none"
ROW = "rows/<id:row_id>/"
DURATION = "http_server_request_duration_seconds"


def measuring(*gauges):
    return Check("age", lambda: ok("it is young", gauges), measured=True)


AGE = measuring(Gauge("tmservice_age_seconds", "How old it is.", 12.5))


def ask(method="get", asked=(AGE,), **headers):
    return metrics.metrics(getattr(RequestFactory(), method)("/metrics/", headers=headers), asked)


@pytest.fixture
def samples(settings):
    """Returns the values by name and labels, e.g. {("tmservice_age_seconds",): 12.5}."""
    settings.METRICS_TOKEN = TOKEN

    def read(*asked):
        answer = ask(asked=asked or (AGE,), Authorization=f"Bearer {TOKEN}")
        assert answer.status_code == 200
        families = text_string_to_metric_families(answer.content.decode())
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }

    return read


@pytest.fixture
def grown(samples):
    """Returns the increase of a metric since the start of the test."""
    before = samples()

    def difference(name):
        now = {key: value - before.get(key, 0) for key, value in samples().items() if key[0] == name}
        return {key[1:]: value for key, value in now.items() if value}

    return difference


def test_a_gauge_is_shown_with_its_description(settings):
    settings.METRICS_TOKEN = TOKEN

    answer = ask(Authorization=f"Bearer {TOKEN}")

    lines = answer.content.decode().splitlines()
    begin = lines.index("# HELP tmservice_age_seconds How old it is.")
    assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert lines[begin + 1 : begin + 3] == ["# TYPE tmservice_age_seconds gauge", "tmservice_age_seconds 12.5"]
    assert ask("post", Authorization=f"Bearer {TOKEN}").status_code == 405


@pytest.mark.parametrize(
    ("token", "header"),
    [
        *((TOKEN, header) for header in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9")),
        *[(TOKEN, "Bearer "), ("", ""), ("", "Bearer "), ("", "Bearer")],
    ],
)
def test_without_the_token_metrics_are_404(settings, token, header):
    settings.METRICS_TOKEN = token

    with pytest.raises(Http404):
        ask(Authorization=header)


def test_a_request_is_counted_by_method_route_and_status(client, grown):
    for path in ("/rows/7/?x=1", "/rows/8/", "/rows/8", "/who-am-i/"):
        client.get(path)
    client.post("/echo/", "{", content_type="application/json")

    rows = {("GET", "400", ROW): 1, ("GET", "200", ROW): 2}
    assert grown(f"{DURATION}_count") == rows | {("POST", "400", "echo/"): 1, ("GET", "401", "who-am-i/"): 1}


def test_a_duration_is_in_every_larger_bucket(client, grown):
    client.get("/rows/7/")

    assert grown(f"{DURATION}_count") == {("GET", "200", ROW): 1}
    (seconds,) = grown(f"{DURATION}_sum").values()
    bounds = [float(key[3]) for key in grown(f"{DURATION}_bucket")]
    assert 0 < seconds < 10
    assert bounds == [bound for bound in [*metrics.BUCKETS, float("inf")] if bound >= seconds]


@pytest.mark.parametrize(
    ("method", "path", "host", "expected"),
    [
        *(
            ("GET", path, "testserver", ("GET", "404", NONE))
            for path in ("/nowhere/", "/rows/0/", "/\u2603", "/rows/7/x")
        ),
        ("GET", "/rows/7/", "elsewhere.test", ("GET", "400", NONE)),
        ("BREW", "/rows/7/", "testserver", (OTHER, "405", ROW)),
        ("X" * 50, "/rows/7/", "testserver", (OTHER, "405", ROW)),
        ("GET", "/broken/", "testserver", ("GET", "500", "broken/")),
    ],
)
def test_an_unexpected_request_is_counted_under_a_fixed_name(client, grown, method, path, host, expected):
    client.raise_request_exception = False

    client.generic(method, path, headers={"Host": host})

    assert grown(f"{DURATION}_count") == {expected: 1}


def test_every_measured_check_is_run(samples):
    another = measuring(Gauge("tmservice_other", "Another.", 3))

    now = samples(AGE, another, Check("role", lambda: pytest.fail("it was asked")))

    assert (now["tmservice_age_seconds",], now["tmservice_other",]) == (12.5, 3)


def test_metrics_include_the_database_and_the_version(samples):
    now = samples()

    assert (now["tmservice_database_up",], now["tmservice_clock_difference_seconds",]) == (1, 0)
    assert now["tmservice_build_info", platform.python_version(), chassis.__version__] == 1
    assert not [key for key in now if key[0].endswith("_created")]


@pytest.mark.django_db(transaction=True)
def test_without_the_database_only_counts_are_reported(client, samples, monkeypatch):
    client.get("/rows/7/")
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    now = samples()

    assert now["tmservice_database_up",] == 0
    assert ("tmservice_age_seconds",) not in now
    assert now[f"{DURATION}_count", "GET", "200", ROW] >= 1


def test_a_failing_gauge_does_not_affect_the_others(samples):
    def failing():
        raise ProgrammingError("there is no such table")

    now = samples(AGE, Check("broken", failing, measured=True))

    assert now["tmservice_database_up",] == 0
    assert ("tmservice_log_errors_total",) in now


def test_a_process_gauge_is_updated_with_each_request(samples):
    state = {"value": 0.0}
    gauge = metrics.ProcessGauge("tmservice_mood", "How it is.", lambda: state["value"])
    measured = metrics.MetricsMiddleware(lambda request: HttpResponse())
    try:
        for value in (0.0, 1.0, 1.0, 0.0):
            state["value"] = value
            measured(RequestFactory().get("/"))
            assert samples()["tmservice_mood",] == value
    finally:
        metrics.ProcessGauge.all.remove(gauge)
        metrics.REGISTRY.unregister(gauge.gauge)
