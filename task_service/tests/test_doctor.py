import re
import time
from datetime import timedelta
from email.utils import formatdate

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from chassis.models import Heartbeat
from directory import health as directory_health
from directory.feed import pull_by_worker
from notifications import health
from notifications.management.commands import doctor
from notifications.models import Delivery, Event, ReminderRun
from tests.conftest import Call, set_feed_age

pytestmark = pytest.mark.django_db


def reminded(age):
    ReminderRun.objects.update_or_create(pk=1, defaults={"finished_at": timezone.now() - age})


def test_it_works(capsys, user_service, settings):
    Heartbeat.objects.beat()
    set_feed_age(seconds_ago=1)
    reminded(timedelta(seconds=30))
    settings.GATEWAY_ADDRESSES = ["127.0.0.1"]

    call_command("doctor")

    found = re.findall("^(ok|WRONG|unsure) +(.{11}) ", capsys.readouterr().out, re.MULTILINE)
    # The role of these tests owns its tables and could change the history.
    assert {name.strip() for state, name in found if state != "ok"} == {"history"}
    assert {"deliveries", "reminders", "directory", "channels", "users"} <= {name.strip() for _, name in found}
    assert user_service.pulls == [1000]


@pytest.mark.parametrize(
    ("reaction", "words"),
    [
        (lambda call: call.answer({}, 401), "rejects our token: its JWT_SIGNING_KEY differs"),
        (lambda call: call.answer({}, 400), "add it to ALLOWED_HOSTS"),
        (lambda call: call.answer({}, 404), "not of the gateway"),
        (lambda call: call.answer({}, 503), "answered 503; is USER_SERVICE_URL right?"),
        (lambda call: call.answer({"results": 1}), "gives no valid response"),
        (Call.send_raw, "gives no valid response"),
    ],
)
def test_an_invalid_response_of_the_user_service_is_reported(user_service, reaction, words):
    user_service.reaction = reaction

    found = doctor.user_service()

    assert found.state == "WRONG"
    assert found.text.startswith(f"the user service at {user_service.url} ")
    assert words in found.text


@pytest.mark.parametrize(
    ("age", "worker_seen", "state"),
    [
        (timedelta(minutes=9), True, "ok"),
        (timedelta(minutes=11), True, "WRONG"),
        (timedelta(hours=24), False, "ok"),  # by cron
        (timedelta(hours=26), False, "WRONG"),
        (None, False, "unsure"),
    ],
)
def test_old_reminder_runs_are_reported(age, worker_seen, state):
    if age:
        reminded(age)
    if worker_seen:
        Heartbeat.objects.beat()

    assert health.reminders().state == state


@pytest.mark.parametrize(("seconds", "state"), [(30, "ok"), (70, "WRONG")])
def test_a_directory_lag_is_reported(directory, seconds, state):
    set_feed_age(seconds_ago=seconds)

    assert directory_health.directory().state == state


def test_an_unread_directory_is_reported():
    assert directory_health.directory().state == "WRONG"


def test_dead_letters_are_reported():
    event = Event.objects.create(kind="task_status_changed", task_id=1, task_title="x", text="x")
    Delivery.objects.create(event=event, channel="email", state="failed", reason="550 no such user")

    found = health.failed()

    assert found.state == "unsure"
    assert "1 deliveries were dead-lettered, the last one because: 550 no such user" in found.text
    assert "replay_deliveries" in found.text


def test_a_missing_log_folder_is_reported(settings, tmp_path):
    settings.NOTIFICATION_LOG = str(tmp_path / "gone" / "notifications.log")

    assert "change NOTIFICATION_LOG" in doctor.channels().text


def test_mail_is_not_checked_without_a_mail_channel(settings, capsys):
    settings.NOTIFICATION_CHANNELS = ["log"]
    settings.EMAIL_FILE_PATH = "/proc/nowhere"

    with pytest.raises(SystemExit):
        call_command("doctor")

    assert re.search("^ok +mail +this service sends no mails", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.django_db(transaction=True)
def test_the_user_service_is_checked_without_the_database(user_service, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    assert doctor.user_service().state == "ok"
    assert user_service.pulls == [0]


# Clocks


def with_clock_difference(seconds, status=200):
    """Make the user service respond with a wrong Date."""

    def reaction(call):
        call.date_time_string = lambda: formatdate(time.time() + seconds, usegmt=True)
        call.answer(call.server.feed_after(call.after), status)

    return reaction


@pytest.mark.parametrize(("seconds", "differs"), [(-20, True), (0, False), (20, True)])
def test_a_clock_difference_is_reported_and_degrades(client, user_service, seconds, differs):
    reminded(timedelta(minutes=1))
    set_feed_age(seconds_ago=60)
    user_service.reaction = with_clock_difference(seconds)

    found = doctor.user_service()
    pull_by_worker()
    body = client.get("/task/health/ready/").json()

    assert found.state == ("WRONG" if differs else "ok")
    assert ("synchronize both with a time server" in found.text) is differs
    assert body["status"] == ("degraded" if differs else "ok")
    assert any("of the user service differ by" in reason for reason in body.get("reasons", [])) is differs


def test_a_rejected_token_hints_at_the_clock(client, user_service):
    reminded(timedelta(minutes=1))
    set_feed_age(seconds_ago=60)
    user_service.reaction = with_clock_difference(-600, status=401)
    pull_by_worker()

    (reason,) = client.get("/task/health/ready/").json()["reasons"]

    assert re.search(r"of the user service differ by (59\d|600)\.\d s", reason)
