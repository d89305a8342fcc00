"""Delivery by the worker: sent, skipped with a reason, retried, dead-lettered."""

from itertools import product
from threading import Event as Flag
from threading import Thread

import pytest
from django.db import IntegrityError

from chassis.testing.smtp_sink import HANG, serving
from chassis.worker.jobs import run_jobs
from chassis.worker.mailing import message_id
from directory.models import User
from directory.person import Person as Account
from notifications import delivering
from notifications.models import Delivery, Event, Notification
from notifications.reminders import remind
from tasks.models import Task
from tests.conftest import wait_until
from tests.deliveries import (
    advance_time,
    change,
    deliver_all,
    delivery_ids,
    log_entries,
    outcome,
    sent_mails,
    states,
    use_smtp,
)

pytestmark = pytest.mark.django_db

LONG_AGO = "2001-01-01"


@pytest.fixture(autouse=True)
def channels(settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]


def recipients():
    return [to for to, _ in sent_mails()]


def test_it_works(ada, alice, grace, create_task):
    task = create_task(title="Pay", assigned_to=alice.id, created_by=grace.id)
    change(task, by=ada, status="in_progress")

    deliver_all()

    text = "ada changed the status from To Do to In Progress: \u2068Pay\u2069"
    assert set(states()) == {"sent"}
    assert [entry["text"] for entry in log_entries()] == [text]
    assert sent_mails() == [("alice", text), ("grace", text)]


def test_the_request_itself_sends_nothing(ada, task, settings):
    settings.NOTIFICATION_LOG = "/nowhere/notifications.log"
    settings.EMAIL_BACKEND = "no.such.Backend"

    assert ada.patch(f"/task/tasks/{task.pk}/", {"status": "completed"}).status_code == 200


# Irrelevant deliveries


def deactivate(ada, task):
    User.objects.filter(pk=102).update(is_active=False)


def delete_account(ada, task):
    User.objects.upsert([Account.deleted(102, 1001)])


def delete_task(ada, task):
    ada.delete(f"/task/tasks/{task.pk}/")


def changing(**values):
    return lambda ada, task: change(task, by=ada, **values)


@pytest.mark.parametrize(
    ("undo", "reason", "others_notified"),
    [
        (changing(assigned_to_id=103), "the task was reassigned", ["bob", "alice"]),
        (delete_task, "the task was deleted", ["alice"]),
        (deactivate, "the account is no longer active", []),
        (delete_account, "the account is no longer active", ["ada"]),
    ],
    ids=["reassigned", "task deleted", "deactivated", "account deleted"],
)
def test_an_irrelevant_mail_is_skipped_with_a_reason(ada, bob, task, undo, reason, others_notified):
    change(task, by=ada, status="in_progress")
    undo(ada, task)

    deliver_all()

    assert outcome(event__kind="task_status_changed", channel="email") == ("skipped", reason)
    assert recipients() == others_notified
    assert log_entries()[0]["event"] == "task_status_changed"  # the log channel reports every event


@pytest.mark.parametrize(
    ("undo", "reason"),
    [
        (changing(status="completed"), "the task is completed"),
        (changing(due_date=None), "the due date was moved"),
        (changing(due_date="2096-02-29"), "the due date was moved"),
        (delete_task, "the task was deleted"),
    ],
    ids=["completed", "no due date", "moved", "deleted"],
)
def test_an_irrelevant_reminder_is_skipped_on_all_channels(ada, alice, create_task, undo, reason):
    task = create_task(assigned_to=alice.id, due_date=LONG_AGO)
    remind()
    undo(ada, task)

    deliver_all()

    reminders = Delivery.objects.filter(event__kind="task_overdue")
    assert list(reminders.values_list("state", "reason")) == [("skipped", reason)] * 3


def test_nothing_is_planned_for_an_unknown_account(ada, create_task):
    task = create_task(assigned_to=999)
    change(task, by=ada, status="completed")

    assert not Notification.objects.exists()
    assert states(channel="email") == []


# Order and independence


def test_a_failing_mailbox_does_not_delay_others(settings, ada, alice, grace, create_task):
    task = create_task(assigned_to=alice.id, created_by=grace.id)
    with serving() as server:
        use_smtp(settings, server.port)
        server.answers = {"alice@tm.example": "450 mailbox busy"}
        for status in ("in_progress", "completed"):
            change(task, by=ada, status=status)
        deliver_all("email")
        assert states(recipient_id=grace.id) == ["sent", "sent"]
        assert states(recipient_id=alice.id) == ["planned", "planned"]

        server.answers = {}
        advance_time(seconds=11)
        deliver_all("email")

    assert [to for _, to, _ in server.received] == [["grace@tm.example"]] * 2 + [["alice@tm.example"]] * 2


@pytest.mark.django_db(transaction=True)
def test_a_stuck_mail_server_does_not_delay_other_channels(settings, ada, task):
    change(task, by=ada, status="completed")
    stop = Flag()
    with serving() as server:
        use_smtp(settings, server.port)
        server.answers = {"CONNECT": HANG}
        worker = Thread(target=run_jobs, args=(delivering.jobs(), stop))
        worker.start()
        assert server.hanging.wait(60)
        wait_until(lambda: states(channel="log") == ["sent"])
        assert states(channel="email") == ["planned"]
        stop.set()
        server.closing.set()
        worker.join(60)

    assert not worker.is_alive()
    assert len(log_entries()) == 1


def test_deliveries_of_a_removed_channel_are_skipped(settings, ada, task):
    change(task, by=ada, status="completed")
    settings.NOTIFICATION_CHANNELS = ["log"]

    for job in delivering.jobs():
        while job.run():
            pass

    assert set(states(channel="log")) == {"sent"}
    assert outcome(channel="email") == ("skipped", "the channel is no longer configured")


# Outages


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number_of_tasks", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_after_an_outage_mails_arrive_in_order_per_task(ada, alice, create_task, settings, number_of_tasks):
    settings.NOTIFICATION_CHANNELS = ["email"]
    with serving() as server:
        use_smtp(settings, server.port)
    tasks = [create_task(assigned_to=alice.id).pk for _ in range(number_of_tasks)]
    for number, task in product(range(10), tasks):
        Task.objects.filter(pk=task).change(by_id=ada.id, status="completed" if number % 2 else "in_progress")
    deliver_all()
    assert set(states()) == {"planned"}
    assert Delivery.objects.filter(attempts__gt=0).count() == len(tasks)  # only the first of each task

    advance_time(minutes=10)
    with serving(server.port) as server:
        deliver_all()

    assert set(states()) == {"sent"}
    seen = [message["Message-ID"] for _, _, message in server.received]
    for task in tasks:
        expected = [message_id(pk, prefix="notification") for pk in delivery_ids(event__task_id=task)]
        assert [each for each in seen if each in expected] == expected
        assert len(expected) == 10


# Constraints


@pytest.fixture
def create_event(db):
    return lambda **values: Event.objects.create(**{"task_id": 1, "task_title": "Pay", "text": "x"} | values)


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("event_kind_is_known", {"kind": "task_eaten"}),
        ("due_date_goes_with_reminders", {"kind": "task_assigned", "due_date": LONG_AGO}),
        ("due_date_goes_with_reminders", {"kind": "task_overdue"}),
        ("reminded_once", {"kind": "task_overdue", "due_date": LONG_AGO}),
    ],
)
def test_the_database_rejects_an_invalid_event(create_event, constraint, values):
    create_event(kind="task_overdue", due_date=LONG_AGO)

    with pytest.raises(IntegrityError, match=constraint):
        create_event(**values)


@pytest.mark.parametrize("recipient_id", [102, None])
def test_the_database_rejects_a_duplicate_delivery(create_event, recipient_id):
    event = create_event(kind="task_assigned")
    for name in ("log", "email"):
        Delivery.objects.create(event=event, channel=name, recipient_id=recipient_id)

    with pytest.raises(IntegrityError, match="delivered_once"):
        Delivery.objects.create(event=event, channel="log", recipient_id=recipient_id)


def test_the_database_rejects_a_duplicate_inbox_entry(create_event):
    entry = {"event": create_event(kind="task_assigned"), "recipient_id": 102}
    Notification.objects.create(**entry)

    with pytest.raises(IntegrityError, match="notified_once"):
        Notification.objects.create(**entry)
