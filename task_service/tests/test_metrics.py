"""The metrics of this service."""

import math
from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from chassis.ops import metrics
from chassis.testing import metrics_table
from directory import client as directory_client
from directory.models import Feed
from notifications.models import Delivery
from tests.deliveries import change, delivery_ids, states

pytestmark = pytest.mark.django_db

TOKEN = "prometheus-may-read-this-0123456789"


@pytest.fixture
def read(client, settings):
    """Return a function that reads /metrics/."""
    settings.METRICS_TOKEN = TOKEN

    def ask():
        answer = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        return answer.content.decode()

    return ask


@pytest.fixture
def metric_values(read):
    """Return a function that reads the metrics without labels."""
    return lambda: {
        family.name: family.samples[0].value for family in text_string_to_metric_families(read()) if family.samples
    }


def test_every_metric_is_in_the_table_of_the_documentation(client, read):
    client.get("/task/health/live/")
    metrics.count_limited("login")

    assert metrics_table.emitted(read()) == metrics_table.documented("task")


def test_waiting_and_dead_lettered_deliveries_are_counted(metric_values, ada, create_task):
    for _ in range(3):
        change(create_task(), by=ada, status="completed")
    Delivery.objects.filter(pk=delivery_ids()[-1]).update(state="failed", reason="554 no")

    now = metric_values()

    assert states() == ["planned", "planned", "failed"]
    assert (now["tmservice_deliveries_waiting"], now["tmservice_deliveries_failed"]) == (2, 1)


def test_the_directory_reports_its_lag_and_position(metric_values):
    Feed.objects.update_or_create(pk=1, defaults={"position": 42, "pulled_at": timezone.now() - timedelta(hours=1)})

    now = metric_values()

    assert 3599 <= now["tmservice_directory_lag_seconds"] < 3900
    assert now["tmservice_directory_position"] == 42

    Feed.objects.update(position=0, pulled_at=None)
    assert math.isnan(metric_values()["tmservice_directory_lag_seconds"])


def test_an_open_breaker_is_reported(client, metric_values, monkeypatch):
    breaker = directory_client.BREAKER
    for failures, is_open in [(breaker.max_failures, 1), (0, 0)]:
        monkeypatch.setattr(breaker, "failures", failures)
        client.get("/task/health/live/")

        assert metric_values()["tmservice_directory_breaker_open"] == is_open
