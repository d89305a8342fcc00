"""Readiness tells, in sentences, what is late with notifications; requests are served all the same."""

from datetime import timedelta

import pytest
from django.utils import timezone

from notifications.models import Delivery, ReminderRun
from notifications.reminders import remind
from tests.deliveries import change, deliver_all, let_pass

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _written(settings, tmp_path):
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")


@pytest.fixture
def health(client):
    """Returns status and body of the readiness answer."""

    def ask():
        answer = client.get("/task/health/ready/")
        return answer.status_code, answer.json()

    return ask


@pytest.fixture
def planned(ada, a_task):
    change(a_task(), by=ada, status="completed")
    return Delivery.objects.get()


def reminded(**ago):
    ReminderRun.objects.update_or_create(pk=1, defaults={"finished_at": timezone.now() - timedelta(**ago)})


OK = (200, {"status": "ok"})


def test_it_works(health, planned):
    reminded(minutes=1)

    assert health() == OK


def test_a_delivery_that_waits_for_more_than_ten_minutes_degrades(health, planned):
    let_pass(minutes=9, seconds=55)
    assert health() == OK

    let_pass(minutes=2)

    reason = "the oldest of the deliveries has waited for 12 minutes: no attempt yet"
    assert health() == (
        200,
        {"status": "degraded", "reasons": [f"deliveries: {reason}; is a worker running?"]},
    )


def test_the_one_that_waits_longest_counts(health, ada, a_task, planned):
    let_pass(minutes=60)
    change(a_task(), by=ada, status="completed")

    assert "for 60 minutes" in health()[1]["reasons"][0]


def test_once_it_is_sent_or_dead_lettered_all_is_well(health, ada, a_task, planned):
    let_pass(hours=1)
    change(a_task(), by=ada, status="completed")
    deliver_all()
    Delivery.objects.filter(pk=planned.pk).update(state="failed", sent_at=None, reason="554 no")

    assert health() == OK


def test_reminders_that_nobody_looked_for_in_25_hours_degrade(health, db):
    reminded(hours=24, minutes=59)
    assert health() == OK

    reminded(hours=25, minutes=1)
    status, body = health()

    (sentence,) = body["reasons"]
    assert (status, body["status"]) == (200, "degraded")
    assert sentence.startswith("reminders: they last ran 25 hours ago; start a worker, or let cron run ")


def test_looking_for_reminders_makes_it_well_again(health, db):
    reminded(days=3)
    remind()

    assert health() == OK


def test_both_are_told_at_once(health, planned):
    let_pass(minutes=11)
    reminded(days=3)

    assert len(health()[1]["reasons"]) == 2


def test_a_service_that_has_just_been_installed_is_well(health, db):
    assert health() == OK


def test_mails_that_wait_for_a_server_are_told_and_sent_later(settings, health, ada, a_task, alice):
    settings.NOTIFICATION_CHANNELS = ["email"]
    settings.MAILS_ARE_HELD = True
    reminded(minutes=1)
    change(a_task(assigned_to=alice.id), by=ada, status="completed")

    deliver_all()
    waiting = health()
    settings.MAILS_ARE_HELD = False
    deliver_all()

    held = "held: mails wait in the database until EMAIL_URL is set"
    assert waiting == (200, {"status": "degraded", "reasons": [held]})
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}
    assert health() == OK
