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
from tests.conftest import Call, feed_read

pytestmark = pytest.mark.django_db


@pytest.fixture
def well(user_service, settings, tmp_path):
    """A service that lacks nothing, and a user service beside it."""
    Heartbeat.objects.beat()
    feed_read(seconds_ago=1)
    reminded(timedelta(seconds=30))
    settings.GATEWAY_ADDRESSES = ["127.0.0.1"]
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")


def reminded(age):
    ReminderRun.objects.update_or_create(pk=1, defaults={"finished_at": timezone.now() - age})


@pytest.mark.usefixtures("well")
def test_it_works(capsys, user_service):
    call_command("doctor")

    found = re.findall("^(ok|WRONG|unsure) +(.{11}) ", capsys.readouterr().out, re.MULTILINE)
    # The role of these tests owns its tables, and so could change the history of tasks.
    assert {name.strip() for state, name in found if state != "ok"} == {"history"}
    assert {"deliveries", "reminders", "directory", "channels", "users"} <= {name.strip() for _, name in found}
    assert user_service.pulls == [1000]


@pytest.mark.parametrize(
    ("reaction", "words"),
    [
        (lambda call: call.answer({}, 401), "refuses our token: JWT_SIGNING_KEY differs there"),
        (lambda call: call.answer({}, 400), "add that host to ALLOWED_HOSTS"),
        (lambda call: call.answer({}, 404), "not to the gateway"),
        (lambda call: call.answer({}, 503), "answered 503; is USER_SERVICE_URL right?"),
        (lambda call: call.answer({"results": 1}), "gives no answer that can be relied on"),
        (Call.say, "gives no answer that can be relied on"),
    ],
)
def test_a_user_service_that_does_not_answer_as_agreed(user_service, reaction, words):
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
    ],
)
def test_reminders_that_were_not_looked_for(age, worker_seen, state):
    reminded(age)
    if worker_seen:
        Heartbeat.objects.beat()

    assert health.reminders().state == state


def test_reminders_that_were_never_looked_for():
    assert health.reminders().state == "unsure"


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(("seconds", "state"), [(50, "ok"), (70, "WRONG")])
def test_a_directory_that_lags_behind(seconds, state):
    feed_read(seconds_ago=seconds)

    assert directory_health.directory().state == state


def test_a_directory_that_was_never_read():
    assert directory_health.directory().state == "WRONG"


def test_notifications_that_were_dead_lettered_can_be_replayed():
    event = Event.objects.create(kind="task_status_changed", task_id=1, task_title="x", text="x")
    Delivery.objects.create(event=event, channel="email", state="failed", reason="550 no such user")

    found = health.failed()

    assert found.state == "unsure"
    assert "1 deliveries were dead-lettered, the last one because: 550 no such user" in found.text
    assert "replay_deliveries" in found.text


def test_a_log_whose_folder_is_not_there(settings, tmp_path):
    settings.NOTIFICATION_CHANNELS = ["log"]
    settings.NOTIFICATION_LOG = str(tmp_path / "gone" / "notifications.log")

    assert "set NOTIFICATION_LOG" in doctor.channels().text


def test_where_no_channel_sends_mails_none_is_looked_after(settings, capsys):
    settings.NOTIFICATION_CHANNELS = ["log"]
    settings.EMAIL_FILE_PATH = "/proc/nowhere"

    with pytest.raises(SystemExit):
        call_command("doctor")

    assert re.search("^ok +mail +this service sends no mails", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_the_user_service_is_asked_all_the_same(user_service, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    assert doctor.user_service().state == "ok"
    assert user_service.pulls == [0]


@pytest.mark.parametrize(("seconds", "state"), [(-20, "WRONG"), (0, "ok"), (20, "WRONG")])
def test_a_clock_that_differs_from_the_user_services_is_told(user_service, seconds, state):
    user_service.reaction = dated(seconds)

    found = doctor.user_service()

    assert found.state == state
    assert ("synchronize both with a time server" in found.text) is (state == "WRONG")


def dated(seconds, status=200):
    """Let the user service answer by a clock that is off."""

    def reaction(call):
        call.date_time_string = lambda: formatdate(time.time() + seconds, usegmt=True)
        call.answer(call.server.changes_after(call.after), status)

    return reaction


@pytest.mark.parametrize(("seconds", "degraded"), [(-20, True), (0, False), (20, True)])
def test_readiness_is_degraded_while_the_clocks_differ(client, user_service, seconds, degraded):
    reminded(timedelta(minutes=1))
    feed_read(seconds_ago=60)
    user_service.reaction = dated(seconds)
    pull_by_worker()

    body = client.get("/task/health/ready/").json()

    assert body["status"] == ("degraded" if degraded else "ok")
    assert degraded is any("of the user service differ by" in reason for reason in body.get("reasons", []))


def test_a_user_service_that_refuses_our_token_may_have_another_clock(client, user_service):
    reminded(timedelta(minutes=1))
    feed_read(seconds_ago=60)
    user_service.reaction = dated(-600, status=401)
    pull_by_worker()

    (reason,) = client.get("/task/health/ready/").json()["reasons"]

    assert re.search(r"of the user service differ by (599|600)\.\d s", reason)
