"""Readiness reports late notifications as degraded; requests are still served."""

from datetime import timedelta

import pytest
from django.utils import timezone

from notifications.models import Delivery, ReminderRun
from notifications.reminders import remind
from tests.deliveries import advance_time, change, deliver_all

pytestmark = pytest.mark.django_db


@pytest.fixture
def health(client):
    """Return a function that reads status and body of the readiness response."""

    def ask():
        answer = client.get("/task/health/ready/")
        return answer.status_code, answer.json()

    return ask


@pytest.fixture
def planned(ada, create_task):
    change(create_task(), by=ada, status="completed")
    return Delivery.objects.get()


def reminded(**ago):
    ReminderRun.objects.update_or_create(pk=1, defaults={"finished_at": timezone.now() - timedelta(**ago)})


OK = (200, {"status": "ok"})


def test_it_works(health, planned):
    reminded(minutes=1)

    assert health() == OK


def test_a_delivery_waiting_over_ten_minutes_degrades(health, planned):
    advance_time(minutes=9, seconds=55)
    assert health() == OK

    advance_time(minutes=2)

    reason = "the oldest of the deliveries has waited for 12 minutes: no attempt yet"
    assert health() == (
        200,
        {"status": "degraded", "reasons": [f"deliveries: {reason}; is a worker running?"]},
    )


def test_the_oldest_delivery_counts(health, ada, create_task, planned):
    advance_time(minutes=60)
    change(create_task(), by=ada, status="completed")

    assert "for 60 minutes" in health()[1]["reasons"][0]


def test_sent_and_dead_lettered_deliveries_do_not_degrade(health, ada, create_task, planned):
    advance_time(hours=1)
    change(create_task(), by=ada, status="completed")
    deliver_all()
    Delivery.objects.filter(pk=planned.pk).update(state="failed", sent_at=None, reason="554 no")

    assert health() == OK


def test_no_reminder_run_for_25_hours_degrades(health, db):
    reminded(hours=24, minutes=59)
    assert health() == OK

    reminded(hours=25, minutes=1)
    status, body = health()

    (sentence,) = body["reasons"]
    assert (status, body["status"]) == (200, "degraded")
    assert sentence.startswith("reminders: they last ran 25 hours ago; start a worker, or let cron run ")


def test_a_reminder_run_restores_ready(health, db):
    reminded(days=3)
    remind()

    assert health() == OK


def test_both_findings_are_reported(health, planned):
    advance_time(minutes=11)
    reminded(days=3)

    assert len(health()[1]["reasons"]) == 2


def test_a_new_installation_is_ready(health, db):
    assert health() == OK


def test_held_mails_are_reported_and_sent_later(settings, health, ada, create_task, alice):
    settings.NOTIFICATION_CHANNELS = ["email"]
    settings.MAILS_ARE_HELD = True
    reminded(minutes=1)
    change(create_task(assigned_to=alice.id), by=ada, status="completed")

    deliver_all()
    waiting = health()
    settings.MAILS_ARE_HELD = False
    deliver_all()

    held = "held: mails wait in the database until EMAIL_URL is set"
    assert waiting == (200, {"status": "degraded", "reasons": [held]})
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}
    assert health() == OK
