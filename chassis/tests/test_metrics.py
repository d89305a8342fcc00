import pytest
from django.http import Http404
from django.test import RequestFactory

from chassis.metrics import metrics

pytestmark = pytest.mark.django_db

TOKEN = "prometheus-may-read-this-0123456789"


def gauges():
    yield "tmservice_age_seconds", "How old it is.", 12.5


def ask(method="get", **headers):
    return metrics(getattr(RequestFactory(), method)("/metrics/", headers=headers), gauges)


def test_it_works(settings):
    settings.METRICS_TOKEN = TOKEN

    answer = ask(Authorization=f"Bearer {TOKEN}")

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    lines = answer.content.decode().splitlines()
    assert lines == [
        "# HELP tmservice_age_seconds How old it is.",
        "# TYPE tmservice_age_seconds gauge",
        "tmservice_age_seconds 12.5",
    ]


@pytest.mark.parametrize(
    "header", ["", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9", "Bearer "]
)
def test_without_the_token_there_is_nothing(settings, header):
    settings.METRICS_TOKEN = TOKEN

    with pytest.raises(Http404):
        ask(Authorization=header)


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer"])
def test_where_no_token_is_set_nothing_opens_it(settings, header):
    settings.METRICS_TOKEN = ""

    with pytest.raises(Http404):
        ask(Authorization=header)


def test_it_is_for_reading_alone(settings):
    settings.METRICS_TOKEN = TOKEN

    assert ask("post", Authorization=f"Bearer {TOKEN}").status_code == 405
