"""Readiness reports late notifications as degraded; requests are still served."""

from datetime import timedelta

import pytest
from django.utils import timezone

from notifications.models import Delivery, ReminderRun
from notifications.reminders import remind
from tests.deliveries import advance_time, change, deliver_all, states

pytestmark = pytest.mark.django_db

OK = (200, {"status": "ok"})


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


def test_a_new_installation_is_ready(health, db):
    assert health() == OK


def test_a_delivery_waiting_over_ten_minutes_degrades(health, ada, create_task, planned):
    reminded(minutes=1)
    advance_time(minutes=9)
    assert health() == OK

    advance_time(minutes=3)
    change(create_task(), by=ada, status="completed")  # the oldest one counts

    reason = "the oldest of the deliveries has waited for 12 minutes: no attempt yet"
    assert health() == (200, {"status": "degraded", "reasons": [f"deliveries: {reason}; is a worker running?"]})


def test_sent_and_dead_lettered_deliveries_do_not_degrade(health, ada, create_task, planned):
    advance_time(hours=1)
    change(create_task(), by=ada, status="completed")
    deliver_all()
    Delivery.objects.filter(pk=planned.pk).update(state="failed", sent_at=None, reason="554 no")

    assert health() == OK


def test_no_reminder_run_for_25_hours_degrades(health, db):
    reminded(hours=24, minutes=50)
    assert health() == OK

    reminded(hours=25, minutes=1)
    status, body = health()

    (sentence,) = body["reasons"]
    assert (status, body["status"]) == (200, "degraded")
    assert sentence.startswith("reminders: they last ran 25 hours ago; start a worker, or let cron run ")
    remind()
    assert health() == OK


def test_both_findings_are_reported(health, planned):
    advance_time(minutes=11)
    reminded(days=3)

    assert len(health()[1]["reasons"]) == 2


def test_held_mails_are_reported_and_sent_later(settings, health, ada, task):
    settings.NOTIFICATION_CHANNELS = ["email"]
    settings.MAILS_ARE_HELD = True
    change(task, by=ada, status="completed")

    deliver_all()
    waiting = health()
    settings.MAILS_ARE_HELD = False
    deliver_all()

    held = "held: mails wait in the database until EMAIL_URL is set"
    assert waiting == (200, {"status": "degraded", "reasons": [held]})
    assert states() == ["sent"]
    assert health() == OK
