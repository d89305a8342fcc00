"""Reminders: of what, to whom, and each once, however often and by whomever tasks are looked through."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from chassis.testing.permission_table import rows_of_all_tables
from chassis.testing.threads import wait_for_lock_waiter
from config import worker
from notifications import reminders
from notifications.delivering import deliver_channel
from notifications.models import Delivery, Event, Notification, ReminderRun
from notifications.reminders import remind
from tasks.models import Task
from tasks.signals import task_due_soon, task_overdue
from tests.deliveries import change, database_url, deliver_all, states

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

SERVICE = Path(__file__).resolve().parent.parent
SOON, OVERDUE = "task_due_soon", "task_overdue"


@pytest.fixture(autouse=True)
def written(settings, tmp_path):
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")
    settings.REMIND_AT = time.min
    return lambda: [json.loads(line) for line in (tmp_path / "notifications.log").read_text().splitlines()]


@pytest.fixture
def at(monkeypatch):
    """Makes it this instant, in UTC."""

    def move(*values):
        monkeypatch.setattr(timezone, "now", lambda: datetime(*values, tzinfo=UTC))

    return move


def check(*options):
    """Run the command and return what it says."""
    output = StringIO()
    call_command("check_due_tasks", *options, stdout=output)
    return output.getvalue()


def said(soon, overdue):
    return f"Reminded of {soon} tasks that are due soon and {overdue} that are overdue.\n"


def in_days(number):
    return timezone.localdate() + timedelta(days=number)


def reminded():
    return list(Event.objects.order_by("pk").values_list("kind", "task_id", "due_date"))


# Of what, and to whom


def test_it_works(ada, alice, bob, a_task, written, settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]
    soon = a_task(title="Pay", assigned_to=alice.id, due_date=in_days(1))
    late = a_task(title="Call", assigned_to=bob.id, created_by=bob.id, due_date=in_days(-1))

    assert check() == said(soon=1, overdue=1)
    deliver_all()

    told = [f"Due on {in_days(1)}: \u2068Pay\u2069", f"Overdue since {in_days(-1)}: \u2068Call\u2069"]
    assert [(line["event"], line["task"], line["text"]) for line in written()] == [
        (SOON, soon.pk, told[0]),
        (OVERDUE, late.pk, told[1]),
    ]
    inboxes = Notification.objects.order_by("pk").values_list("recipient_id", "event__text")
    assert list(inboxes) == [(ada.id, told[0]), (alice.id, told[0]), (bob.id, told[1])]
    assert set(states()) == {"sent"}


@pytest.mark.parametrize("ahead", [0, 1, 7])
def test_due_soon_is_from_today_to_as_many_days_ahead_as_are_set(a_task, settings, ahead):
    settings.DUE_SOON_DAYS = ahead
    for days in (-400, -1, 0, 1, 2, 7, 8):
        a_task(id=1000 + days, due_date=in_days(days))

    remind()

    soon = {task_id - 1000 for kind, task_id, _ in reminded() if kind == SOON}
    assert soon == {days for days in (0, 1, 2, 7, 8) if days <= ahead}
    assert {task_id - 1000 for kind, task_id, _ in reminded() if kind == OVERDUE} == {-400, -1}


def test_of_what_is_completed_or_has_no_due_date_nobody_is_reminded(a_task):
    a_task(due_date=in_days(-1), status="completed")
    a_task(due_date=in_days(0), status="completed")
    a_task()

    assert check() == said(soon=0, overdue=0)
    assert reminded() == []


@pytest.mark.parametrize("status", ["todo", "in_progress"])
def test_what_is_in_progress_is_reminded_of_like_what_is_to_do(a_task, status):
    a_task(due_date=in_days(-1), status=status)

    assert check() == said(soon=0, overdue=1)


# Today


def test_today_is_in_the_time_zone_that_is_set(a_task, settings):
    settings.TIME_ZONE = "Etc/GMT+12"
    task = a_task(due_date=timezone.localdate())
    remind()
    settings.TIME_ZONE = "Pacific/Kiritimati"  # 26 hours ahead
    remind()

    assert reminded() == [(SOON, task.pk, task.due_date), (OVERDUE, task.pk, task.due_date)]


@pytest.mark.parametrize(
    ("zone", "due", "last", "first"),
    [
        ("UTC", date(2028, 2, 29), (2028, 2, 29, 23, 59, 59), (2028, 3, 1)),
        ("UTC", date(2026, 12, 31), (2026, 12, 31, 23, 59, 59), (2027, 1, 1)),
        ("Europe/Berlin", date(2026, 3, 28), (2026, 3, 28, 22, 59, 59), (2026, 3, 28, 23)),
        ("Europe/Berlin", date(2026, 3, 29), (2026, 3, 29, 21, 59, 59), (2026, 3, 29, 22)),  # a day of 23 hours
        ("Europe/Berlin", date(2026, 10, 25), (2026, 10, 25, 22, 59, 59), (2026, 10, 25, 23)),  # one of 25
    ],
)
def test_a_task_is_overdue_when_its_day_is_over_and_not_before(a_task, settings, at, zone, due, last, first):
    settings.TIME_ZONE = zone
    a_task(due_date=due)
    at(*last)
    assert check() == said(soon=1, overdue=0)

    at(*first)
    assert check() == said(soon=0, overdue=1)


def test_the_day_before_the_29th_of_february_is_soon_enough(a_task, at):
    at(2028, 2, 28)
    a_task(due_date=date(2028, 2, 29))

    assert check() == said(soon=1, overdue=0)


# Once


def test_each_is_reminded_of_once_however_often_it_runs(a_task, alice, written):
    a_task(assigned_to=alice.id, due_date=in_days(0))
    a_task(assigned_to=alice.id, due_date=in_days(-1))

    assert [check() for _ in range(3)] == [said(1, 1), said(0, 0), said(0, 0)]
    deliver_all()
    assert check() == said(0, 0)
    deliver_all()

    assert len(written()) == 2


def test_an_unassigned_task_has_one_line_not_one_a_minute(directory, a_task, written):
    a_task(due_date=in_days(-1))
    for _ in range(5):
        worker.look_for_reminders()
        deliver_all()

    assert [line["event"] for line in written()] == [OVERDUE]


def test_moving_the_due_date_re_arms(ada, a_task):
    task = a_task(due_date=in_days(-1))
    remind()
    change(task, by=ada, due_date=in_days(-2))
    remind()
    change(task, by=ada, due_date=in_days(9))
    remind()
    change(task, by=ada, due_date=in_days(1))
    remind()
    remind()

    assert reminded() == [
        (OVERDUE, task.pk, in_days(-1)),
        (OVERDUE, task.pk, in_days(-2)),
        (SOON, task.pk, in_days(1)),
    ]


@pytest.mark.parametrize("values", [{"title": "Pay now"}, {"assigned_to_id": 102}, {"status": "in_progress"}], ids=str)
def test_no_other_change_re_arms(ada, alice, a_task, values):
    task = a_task(due_date=in_days(-1))
    remind()
    change(task, by=ada, **values)

    assert check() == said(soon=0, overdue=0)


def test_what_was_missed_for_a_week_is_caught_up_once_without_a_flood(a_task, at):
    for day in range(1, 8):
        a_task(due_date=date(2026, 5, day))
    at(2026, 5, 8, 8)

    assert check() == said(soon=0, overdue=7)
    assert check() == said(soon=0, overdue=0)
    assert {kind for kind, _, _ in reminded()} == {OVERDUE}


def test_a_task_is_told_of_day_by_day_as_soon_and_then_as_overdue(a_task, at):
    a_task(due_date=date(2026, 5, 3))
    says = []
    for day in range(1, 8):
        at(2026, 5, day, 8)
        says.append(check())

    nothing = said(0, 0)
    assert says == [nothing, said(1, 0), nothing, said(0, 1), nothing, nothing, nothing]


def test_a_task_that_is_overdue_when_it_is_made_is_reminded_of_once(ada):
    ada.post("/task/tasks/", {"title": "Pay", "due_date": "2001-01-01"})

    assert [check() for _ in range(3)] == [said(0, 1), said(0, 0), said(0, 0)]


# Batches


@COMMITTING
def test_many_are_planned_in_batches_each_in_a_transaction_of_its_own(a_task, monkeypatch):
    monkeypatch.setattr(reminders, "BATCH_SIZE", 2)
    for days in range(1, 6):
        a_task(due_date=in_days(-days))

    assert check() == said(soon=0, overdue=5)

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM notifications_event GROUP BY xmin ORDER BY min(id)")
        assert cursor.fetchall() == [(2,), (2,), (1,)]


@COMMITTING
def test_killed_half_way_the_next_run_plans_only_the_rest(db):
    Task.objects.bulk_create(Task(title="Pay", created_by=101, due_date=in_days(-1)) for _ in range(3000))
    argv = [sys.executable, "manage.py", "check_due_tasks"]
    values = os.environ | {"DATABASE_URL": database_url()}
    with transaction.atomic():  # the run has to wait for one task of its third batch
        Event.objects.create(kind=OVERDUE, task_id=Task.objects.order_by("pk")[1200].pk, due_date=in_days(-1), text="x")
        with subprocess.Popen(argv, cwd=SERVICE, env=values) as process:
            wait_for_lock_waiter()
            process.kill()
        transaction.set_rollback(True)
    assert process.returncode == -signal.SIGKILL
    assert (Event.objects.count(), Delivery.objects.count(), ReminderRun.objects.count()) == (1000, 1000, 0)

    assert check() == said(soon=0, overdue=2000)

    assert Event.objects.values("task_id").distinct().count() == Event.objects.count() == 3000
    assert Delivery.objects.values("event").distinct().count() == Delivery.objects.count() == 3000


# The command and the job


def test_a_dry_run_says_what_would_be_planned_and_changes_nothing(a_task, alice):
    for days in (-2, -1, 0):
        a_task(assigned_to=alice.id, due_date=in_days(days))
    remind()
    for days in (-2, -1, 0, 1):
        a_task(assigned_to=alice.id, due_date=in_days(days))
    before = rows_of_all_tables()

    assert check("--dry-run") == "Would remind of 2 tasks that are due soon and 2 that are overdue.\n"

    assert rows_of_all_tables() == before
    assert check() == said(soon=2, overdue=2)


@pytest.mark.parametrize(
    ("zone", "remind_at", "too_early", "in_time"),
    [
        ("UTC", "08:00", [(2026, 5, 4, 0, 0, 26), (2026, 5, 4, 7, 59, 59)], (2026, 5, 4, 8)),
        ("Europe/Berlin", "08:00", [(2026, 5, 4, 5, 59)], (2026, 5, 4, 6)),
        ("Europe/Berlin", "02:30", [(2026, 3, 29, 0, 59)], (2026, 3, 29, 1)),  # the clock skips from 2:00 to 3:00
        ("Europe/Berlin", "02:30", [(2026, 10, 24, 23, 0), (2026, 10, 25, 1, 15)], (2026, 10, 25, 1, 30)),  # 2:00 twice
        ("Pacific/Kiritimati", "08:00", [(2026, 5, 3, 17, 59)], (2026, 5, 3, 18)),  # the day before in UTC
    ],
)
def test_the_worker_waits_until_the_time_of_day_that_is_set(a_task, settings, at, zone, remind_at, too_early, in_time):
    settings.TIME_ZONE, settings.REMIND_AT = zone, time.fromisoformat(remind_at)
    a_task(due_date=date(2026, 1, 1))
    for moment in too_early:
        at(*moment)
        worker.look_for_reminders()
        assert reminded() == []
        assert ReminderRun.objects.get().finished_at == timezone.now()  # it has looked: nobody needs to be alarmed

    at(*in_time)
    worker.look_for_reminders()

    assert len(reminded()) == 1


def test_a_day_without_a_worker_is_caught_up_at_the_next_ones_time(a_task, settings, at):
    settings.REMIND_AT = time(8)
    a_task(due_date=date(2026, 5, 3))
    at(2026, 5, 5, 7)
    worker.look_for_reminders()
    assert reminded() == []

    at(2026, 5, 5, 8)
    worker.look_for_reminders()

    assert [kind for kind, *_ in reminded()] == [OVERDUE]


def test_the_command_plans_at_any_time_of_day(a_task, settings, at):
    settings.REMIND_AT = time(8)
    a_task(due_date=date(2026, 5, 3))
    at(2026, 5, 4, 0, 5)

    assert check() == said(soon=0, overdue=1)


def test_each_run_notes_when_it_was(at, db):
    at(2026, 5, 3, 8)
    remind()
    at(2026, 5, 4, 8)
    remind()

    assert ReminderRun.objects.get().finished_at == datetime(2026, 5, 4, 8, tzinfo=UTC)


def test_the_worker_looks_every_minute_and_is_done_in_one_turn(a_task, directory):
    (job,) = [job for job in worker.jobs() if job.name == "reminders"]
    a_task(due_date=in_days(-1))

    assert not job.run()  # nothing is left for a turn right after

    assert job.every_seconds == 60
    assert len(reminded()) == 1


@pytest.mark.parametrize(
    ("away", "back"),
    [({"status": "completed"}, {"status": "todo"}), ({"due_date": None}, {"due_date": "2001-01-01"})],
    ids=["completed and reopened", "moved and moved back"],
)
def test_a_reminder_that_was_skipped_comes_back_when_it_is_true_again(ada, a_task, away, back):
    task = a_task(due_date="2001-01-01")
    remind()
    ada.patch(f"/task/tasks/{task.pk}/", away)
    deliver_channel("log")
    skipped = Delivery.objects.get(event__kind="task_overdue", channel="log")
    assert skipped.state == "skipped"

    ada.patch(f"/task/tasks/{task.pk}/", back)
    remind()
    deliver_channel("log")

    skipped.refresh_from_db()
    assert (skipped.state, skipped.reason) == ("sent", "")
    assert Event.objects.filter(kind="task_overdue").count() == 1


def test_a_skipped_reminder_of_the_other_kind_stays_skipped(ada, a_task, at):
    task = a_task(due_date=in_days(1))
    remind()
    change(task, by=ada, status="completed")
    deliver_channel("log")

    at(*in_days(3).timetuple()[:3])
    change(task, by=ada, status="todo")
    remind()

    assert states(event__kind=SOON, channel="log") == ["skipped"]
    assert states(event__kind=OVERDUE, channel="log") == ["planned"]


def test_each_is_a_fact_that_others_may_listen_to(a_task):
    soon, overdue = a_task(due_date=timezone.localdate()), a_task(due_date="2001-01-01")
    heard = []

    def listen(tasks, signal, **_):
        heard.append((signal, [task.pk for task in tasks], connection.in_atomic_block))

    for fact in (task_due_soon, task_overdue):
        fact.connect(listen)
    remind()
    remind()
    for fact in (task_due_soon, task_overdue):
        fact.disconnect(listen)

    assert heard == [(task_due_soon, [soon.pk], True), (task_overdue, [overdue.pk], True)]
