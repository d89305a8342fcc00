"""Metrics of the user service."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import Mail
from chassis.ops import metrics
from chassis.testing import metrics_table

pytestmark = pytest.mark.django_db

TOKEN = "prometheus-may-read-this-0123456789"


@pytest.fixture
def read(client, settings):
    """Returns the text of /metrics/."""
    settings.METRICS_TOKEN = TOKEN

    def ask():
        answer = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        return answer.content.decode()

    return ask


def test_every_metric_is_in_the_table_of_the_documentation(client, read):
    client.get("/user/users/7/")
    metrics.count_limited("login")

    text = read()

    labels = 'http_request_method="GET",http_response_status_code="401",http_route="user/users/<id:user_id>/"'
    assert f"http_server_request_duration_seconds_count{{{labels}}}" in text
    assert metrics_table.emitted(text) == metrics_table.documented("user")


def test_waiting_and_dead_lettered_mails_are_counted(read):
    for name in ("alice", "bob", "charlie"):
        Mail.objects.plan(Mail.Kind.PASSWORD_RESET, f"{name}@example.com")
    Mail.objects.filter(email_key="bob@example.com").update(state="failed", reason="554 no")

    values = {
        family.name: family.samples[0].value for family in text_string_to_metric_families(read()) if family.samples
    }

    assert (values["tmservice_mails_waiting"], values["tmservice_mails_failed"]) == (2, 1)
