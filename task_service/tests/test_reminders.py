"""Reminders: tasks, recipients, and that each is planned once, however many runs there are."""

import signal
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from chassis.testing.permission_table import rows_of_all_tables
from chassis.testing.threads import wait_for_lock_waiter
from config import worker
from notifications.delivering import deliver_channel
from notifications.models import Delivery, Event, Notification, ReminderRun
from notifications.reminders import remind, remind_from_time_of_day
from tasks.models import Task
from tasks.signals import task_due_soon, task_overdue
from tests.deliveries import change, deliver_all, log_entries, start, states

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

SOON, OVERDUE = "task_due_soon", "task_overdue"


@pytest.fixture(autouse=True)
def set_clock(settings, monkeypatch):
    """Plan reminders from midnight on, and return a function that sets the clock, in UTC."""
    settings.REMIND_AT = time.min
    return lambda *values: monkeypatch.setattr(timezone, "now", lambda: datetime(*values, tzinfo=UTC))


def check_due_tasks(*options):
    """Run the command and return its output."""
    output = StringIO()
    call_command("check_due_tasks", *options, stdout=output)
    return output.getvalue()


def output_for(soon, overdue):
    return f"Reminded of {soon} tasks that are due soon and {overdue} that are overdue.\n"


def in_days(number):
    return timezone.localdate() + timedelta(days=number)


def reminded():
    return list(Event.objects.order_by("pk").values_list("kind", "task_id", "due_date"))


# Tasks and recipients


def test_it_works(ada, alice, bob, create_task, settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]
    soon = create_task(title="Pay", assigned_to=alice.id, due_date=in_days(1))
    late = create_task(title="Call", assigned_to=bob.id, created_by=bob.id, due_date=in_days(-1))

    assert check_due_tasks() == output_for(soon=1, overdue=1)
    deliver_all()

    texts = [f"Due on {in_days(1)}: \u2068Pay\u2069", f"Overdue since {in_days(-1)}: \u2068Call\u2069"]
    logged = [(line["event"], line["task"], line["text"]) for line in log_entries()]
    assert logged == [(SOON, soon.pk, texts[0]), (OVERDUE, late.pk, texts[1])]
    inboxes = Notification.objects.order_by("pk").values_list("recipient_id", "event__text")
    assert list(inboxes) == [(ada.id, texts[0]), (alice.id, texts[0]), (bob.id, texts[1])]
    assert set(states()) == {"sent"}


@pytest.mark.parametrize("ahead", [0, 1, 7])
def test_due_soon_covers_the_configured_days(create_task, settings, ahead):
    settings.DUE_SOON_DAYS = ahead
    for days in (-400, -1, 0, 1, 2, 7, 8):
        create_task(id=1000 + days, due_date=in_days(days))

    remind()

    soon = {task_id - 1000 for kind, task_id, _ in reminded() if kind == SOON}
    assert soon == {days for days in (0, 1, 2, 7, 8) if days <= ahead}
    assert {task_id - 1000 for kind, task_id, _ in reminded() if kind == OVERDUE} == {-400, -1}


@pytest.mark.parametrize(
    ("status", "days", "expected"),
    [("completed", -1, (0, 0)), ("completed", 0, (0, 0)), ("todo", None, (0, 0)), ("in_progress", -1, (0, 1))],
)
def test_open_tasks_with_a_due_date_are_reminded(create_task, status, days, expected):
    create_task(due_date=None if days is None else in_days(days), status=status)

    assert check_due_tasks() == output_for(*expected)


# Today


@pytest.mark.parametrize(
    ("zone", "due", "last", "first"),
    [
        ("UTC", date(2028, 2, 29), (2028, 2, 28), (2028, 3, 1)),
        ("UTC", date(2026, 12, 31), (2026, 12, 31, 23, 59, 59), (2027, 1, 1)),
        ("Europe/Berlin", date(2026, 3, 28), (2026, 3, 28, 22, 59, 59), (2026, 3, 28, 23)),
        ("Europe/Berlin", date(2026, 3, 29), (2026, 3, 29, 21, 59, 59), (2026, 3, 29, 22)),  # a day of 23 hours
        ("Europe/Berlin", date(2026, 10, 25), (2026, 10, 25, 22, 59, 59), (2026, 10, 25, 23)),  # one of 25
    ],
)
def test_a_task_is_overdue_from_the_day_after_its_due_date(create_task, settings, set_clock, zone, due, last, first):
    settings.TIME_ZONE = zone
    create_task(due_date=due)
    set_clock(*last)
    assert check_due_tasks() == output_for(soon=1, overdue=0)

    set_clock(*first)
    assert check_due_tasks() == output_for(soon=0, overdue=1)


# Once


def test_repeated_runs_remind_once(create_task, directory):
    for days in (0, -1):
        create_task(due_date=in_days(days))

    assert [check_due_tasks() for _ in range(3)] == [output_for(1, 1), output_for(0, 0), output_for(0, 0)]
    deliver_all()
    assert check_due_tasks() == output_for(0, 0)
    deliver_all()

    assert [line["event"] for line in log_entries()] == [SOON, OVERDUE]


def test_a_new_due_date_causes_a_new_reminder(ada, create_task):
    task = create_task(due_date=in_days(-1))
    remind()
    for days in (-2, 9, 1):
        change(task, by=ada, due_date=in_days(days))
        remind()
    remind()

    assert reminded() == [
        (OVERDUE, task.pk, in_days(-1)),
        (OVERDUE, task.pk, in_days(-2)),
        (SOON, task.pk, in_days(1)),
    ]


@pytest.mark.parametrize("values", [{"title": "Pay now"}, {"assigned_to_id": 102}, {"status": "in_progress"}], ids=str)
def test_other_changes_cause_no_new_reminder(ada, alice, create_task, values):
    task = create_task(due_date=in_days(-1))
    remind()
    change(task, by=ada, **values)

    assert check_due_tasks() == output_for(soon=0, overdue=0)


def test_a_missed_week_is_caught_up_with_one_reminder_per_task(create_task, set_clock):
    for day in range(1, 8):
        create_task(due_date=date(2026, 5, day))
    set_clock(2026, 5, 8, 8)

    assert check_due_tasks() == output_for(soon=0, overdue=7)
    assert check_due_tasks() == output_for(soon=0, overdue=0)


def test_a_task_is_reminded_as_due_soon_then_as_overdue(create_task, set_clock):
    create_task(due_date=date(2026, 5, 3))
    says = []
    for day in range(1, 8):
        set_clock(2026, 5, day, 8)
        says.append(check_due_tasks())

    nothing = output_for(0, 0)
    assert says == [nothing, output_for(1, 0), nothing, output_for(0, 1), nothing, nothing, nothing]


# Crashes


@COMMITTING
def test_after_a_kill_the_next_run_plans_the_rest(db):
    Task.objects.bulk_create(Task(title="Pay", created_by=101, due_date=in_days(-1)) for _ in range(1300))
    with transaction.atomic():  # the run waits for a task of its third batch
        Event.objects.create(kind=OVERDUE, task_id=Task.objects.order_by("pk")[1200].pk, due_date=in_days(-1), text="x")
        with start("manage.py", "check_due_tasks") as process:
            wait_for_lock_waiter()
            process.kill()
        transaction.set_rollback(True)
    assert process.returncode == -signal.SIGKILL
    assert (Event.objects.count(), Delivery.objects.count(), ReminderRun.objects.count()) == (1000, 1000, 0)

    assert check_due_tasks() == output_for(soon=0, overdue=300)

    assert Event.objects.values("task_id").distinct().count() == Event.objects.count() == 1300
    assert Delivery.objects.values("event").distinct().count() == Delivery.objects.count() == 1300


# The command and the job


def test_a_dry_run_reports_and_changes_nothing(create_task, alice):
    create_task(assigned_to=alice.id, due_date=in_days(-1))
    remind()
    for days in (-2, -1, 0, 1):
        create_task(assigned_to=alice.id, due_date=in_days(days))
    before = rows_of_all_tables()

    assert check_due_tasks("--dry-run") == "Would remind of 2 tasks that are due soon and 2 that are overdue.\n"

    assert rows_of_all_tables() == before
    assert check_due_tasks() == output_for(soon=2, overdue=2)


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
def test_the_worker_waits_until_remind_at(create_task, settings, set_clock, zone, remind_at, too_early, in_time):
    settings.TIME_ZONE, settings.REMIND_AT = zone, time.fromisoformat(remind_at)
    create_task(due_date=date(2026, 1, 1))
    for moment in too_early:
        set_clock(*moment)
        remind_from_time_of_day()
        assert reminded() == []
        assert ReminderRun.objects.get().finished_at == timezone.now()  # the run is recorded, so that no check fails

    set_clock(*in_time)
    remind_from_time_of_day()

    assert len(reminded()) == 1


def test_the_command_plans_at_any_time_of_day(create_task, settings, set_clock):
    settings.REMIND_AT = time(8)
    create_task(due_date=date(2026, 5, 3))
    set_clock(2026, 5, 4, 0, 5)

    assert check_due_tasks() == output_for(soon=0, overdue=1)


def test_the_worker_runs_reminders_every_minute(create_task, directory):
    (job,) = [job for job in worker.jobs() if job.name == "reminders"]
    create_task(due_date=in_days(-1))

    assert not job.run()  # no further turn is needed

    assert job.every_seconds == 60
    assert len(reminded()) == 1


# Skipped reminders and signals


@pytest.mark.parametrize(
    ("away", "back"),
    [({"status": "completed"}, {"status": "todo"}), ({"due_date": None}, {"due_date": "2001-01-01"})],
    ids=["completed and reopened", "moved and moved back"],
)
def test_a_skipped_reminder_is_requeued_when_due_again(ada, create_task, away, back):
    task = create_task(due_date="2001-01-01")
    remind()
    change(task, by=ada, **away)
    deliver_channel("log")
    skipped = Delivery.objects.get(event__kind=OVERDUE, channel="log")
    assert skipped.state == "skipped"

    change(task, by=ada, **back)
    remind()
    deliver_channel("log")

    skipped.refresh_from_db()
    assert (skipped.state, skipped.reason) == ("sent", "")
    assert Event.objects.filter(kind=OVERDUE).count() == 1


def test_a_skipped_reminder_of_another_kind_stays_skipped(ada, create_task, set_clock):
    task = create_task(due_date=in_days(1))
    remind()
    change(task, by=ada, status="completed")
    deliver_channel("log")

    set_clock(*in_days(3).timetuple()[:3])
    change(task, by=ada, status="todo")
    remind()

    assert states(event__kind=SOON, channel="log") == ["skipped"]
    assert states(event__kind=OVERDUE, channel="log") == ["planned"]


def test_each_reminder_sends_a_signal(create_task):
    soon, overdue = create_task(due_date=timezone.localdate()), create_task(due_date="2001-01-01")
    received = []

    def listen(tasks, signal, **_):
        received.append((signal, [task.pk for task in tasks], connection.in_atomic_block))

    for fact in (task_due_soon, task_overdue):
        fact.connect(listen)
    remind()
    remind()
    for fact in (task_due_soon, task_overdue):
        fact.disconnect(listen)

    assert received == [(task_due_soon, [soon.pk], True), (task_overdue, [overdue.pk], True)]
