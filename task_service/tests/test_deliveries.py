"""Delivery by the worker: sent, skipped with a reason, retried, dead-lettered."""

import os
from datetime import timedelta
from itertools import product
from threading import Event as Flag
from threading import Thread

import pytest
from django.core import mail as post
from django.db import IntegrityError
from django.utils import timezone

from chassis.testing.smtp_sink import HANG, serving
from chassis.worker import outbox
from chassis.worker.jobs import run_jobs
from chassis.worker.mailing import message_id
from directory.models import User
from directory.person import Person as Account
from notifications import delivering
from notifications.channels import Channel, channel
from notifications.models import Delivery, Event, Notification
from notifications.reminders import remind
from tasks.models import Task
from tests.deliveries import SMTP, advance_time, change, deliver_all, outcome, states

pytestmark = pytest.mark.django_db

LONG_AGO = "2001-01-01"


@pytest.fixture(autouse=True)
def log_lines(settings, tmp_path):
    """Return a function that reads the lines of the log channel."""
    settings.NOTIFICATION_CHANNELS = ["log", "email"]
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")
    settings.PUBLIC_URL = "https://tm.test"
    return lambda: (tmp_path / "notifications.log").read_text().splitlines()


@pytest.fixture
def use_smtp(settings):
    """Return a function that sends mails over SMTP to a port."""

    def use(port):
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = SMTP, "127.0.0.1", 5
        settings.EMAIL_PORT = port

    return use


@pytest.fixture
def task(create_task, alice):
    return create_task(title="Pay", assigned_to=alice.id)


def task_ids_by_delivery():
    return Delivery.objects.values_list("pk", "event__task_id")


def sent_mails():
    """Return recipient and first line of each mail, in the order of sending."""
    return [(mail.to[0], mail.body.splitlines()[0]) for mail in post.outbox]


def test_it_works(ada, alice, grace, create_task, log_lines):
    task = create_task(title="Pay", assigned_to=alice.id, created_by=grace.id)
    change(task, by=ada, status="in_progress")

    deliver_all()

    assert set(states()) == {"sent"}
    assert len(log_lines()) == 1
    assert sent_mails() == [
        ("alice@tm.example", "ada changed the status from To Do to In Progress: \u2068Pay\u2069"),
        ("grace@tm.example", "ada changed the status from To Do to In Progress: \u2068Pay\u2069"),
    ]


def test_a_sent_message_is_not_sent_again(ada, task, log_lines):
    change(task, by=ada, status="in_progress")
    deliver_all()
    advance_time(days=2)
    deliver_all()

    assert (len(post.outbox), len(log_lines())) == (1, 1)


def test_the_request_itself_sends_nothing(ada, task, settings):
    settings.NOTIFICATION_LOG = "/nowhere/notifications.log"
    settings.EMAIL_BACKEND = "no.such.Backend"

    assert ada.patch(f"/task/tasks/{task.pk}/", {"status": "completed"}).status_code == 200


# Irrelevant deliveries


def deactivated(ada, task):
    User.objects.filter(pk=102).update(is_active=False)


def account_deleted(ada, task):
    User.objects.upsert([Account.deleted(102, 1001)])


@pytest.mark.parametrize(
    ("undo", "reason", "others_notified"),
    [
        (lambda ada, task: change(task, by=ada, assigned_to_id=103), "the task was reassigned", ["bob", "alice"]),
        (lambda ada, task: ada.delete(f"/task/tasks/{task.pk}/"), "the task was deleted", ["alice"]),
        (deactivated, "the account is no longer active", []),
        (account_deleted, "the account is no longer active", ["ada"]),
    ],
    ids=["reassigned", "task deleted", "deactivated", "account deleted"],
)
def test_an_irrelevant_mail_is_skipped_with_a_reason(ada, bob, task, undo, reason, others_notified, log_lines):
    change(task, by=ada, status="in_progress")
    undo(ada, task)

    deliver_all()

    event = Event.objects.get(kind="task_status_changed")
    assert outcome(event=event, channel="email") == ("skipped", reason)
    assert [to.partition("@")[0] for to, _ in sent_mails()] == others_notified
    assert "task_status_changed" in log_lines()[0]  # the log channel reports every event


@pytest.mark.parametrize(
    ("undo", "reason"),
    [
        (lambda ada, task: change(task, by=ada, status="completed"), "the task is completed"),
        (lambda ada, task: change(task, by=ada, due_date=None), "the due date was moved"),
        (lambda ada, task: change(task, by=ada, due_date="2096-02-29"), "the due date was moved"),
        (lambda ada, task: ada.delete(f"/task/tasks/{task.pk}/"), "the task was deleted"),
    ],
    ids=["completed", "no due date", "moved", "deleted"],
)
def test_an_irrelevant_reminder_is_skipped_on_all_channels(ada, alice, create_task, undo, reason, log_lines):
    task = create_task(assigned_to=alice.id, due_date=LONG_AGO)
    remind()
    undo(ada, task)

    deliver_all("log", "email")

    reminder = Event.objects.get(kind="task_overdue")
    assert list(Delivery.objects.filter(event=reminder).values_list("state", "reason")) == [("skipped", reason)] * 3
    assert not any("overdue" in line for line in (log_lines() if Delivery.objects.filter(state="sent") else []))


def test_a_former_assignee_gets_no_reminder(ada, alice, bob, create_task):
    task = create_task(assigned_to=alice.id, due_date=LONG_AGO)
    remind()
    change(task, by=ada, assigned_to_id=bob.id)

    deliver_all()

    of_alice = {"event__kind": "task_overdue", "recipient_id": alice.id}
    assert outcome(**of_alice) == ("skipped", "the task was reassigned")
    assert [text for to, text in sent_mails() if to == "alice@tm.example"] == [
        "ada unassigned you from \u2068Water the plants\u2069"
    ]
    assert {to for to, _ in sent_mails()} == {"ada@tm.example", "alice@tm.example", "bob@tm.example"}


def test_nothing_is_planned_for_an_unknown_account(ada, create_task):
    task = create_task(assigned_to=999)
    change(task, by=ada, status="completed")

    assert not Notification.objects.exists()
    assert states(channel="email") == []


# Order and independence


def test_messages_about_a_task_arrive_in_order(ada, task):
    for status in ("in_progress", "todo", "completed"):
        change(task, by=ada, status=status)
    first = Delivery.objects.filter(channel="email").earliest("pk")
    Delivery.objects.filter(pk=first.pk).update(due_at=timezone.now() + timedelta(minutes=5))
    deliver_all("email")
    assert sent_mails() == []

    advance_time(minutes=5)
    deliver_all("email")

    assert [text for _, text in sent_mails()] == [
        "ada changed the status from To Do to In Progress: \u2068Pay\u2069",
        "ada changed the status from In Progress to To Do: \u2068Pay\u2069",
        "ada completed \u2068Pay\u2069",
    ]


def test_a_failing_mailbox_does_not_delay_others(ada, alice, grace, create_task, use_smtp):
    task = create_task(assigned_to=alice.id, created_by=grace.id)
    with serving() as server:
        use_smtp(server.port)
        server.answers = {"alice@tm.example": "450 mailbox busy"}
        for status in ("in_progress", "completed"):
            change(task, by=ada, status=status)
        deliver_all("email")
        assert states(recipient_id=grace.id) == ["sent", "sent"]
        assert states(recipient_id=alice.id) == ["planned", "planned"]

        server.answers = {}
        advance_time(seconds=11)
        deliver_all("email")

    assert states(recipient_id=alice.id) == ["sent", "sent"]
    recipients = [address for _, addresses, _ in server.received for address in addresses]
    assert recipients == ["grace@tm.example"] * 2 + ["alice@tm.example"] * 2


@pytest.mark.django_db(transaction=True)
def test_a_stuck_mail_server_does_not_delay_other_channels(ada, task, use_smtp, log_lines):
    change(task, by=ada, status="completed")
    stop = Flag()
    with serving() as server:
        use_smtp(server.port)
        server.answers = {"CONNECT": HANG}
        worker = Thread(target=run_jobs, args=(delivering.jobs(), stop))
        worker.start()
        assert server.hanging.wait(20)
        while states(channel="log") != ["sent"]:
            stop.wait(0.01)
        assert states(channel="email") == ["planned"]
        stop.set()
        server.closing.set()
        worker.join(20)

    assert not worker.is_alive()
    assert len(log_lines()) == 1


class FailingOnCompleted(Channel):
    """Fails on completed tasks only."""

    is_personal, sent = False, []

    def send(self, message):
        if message.event.new == "completed":
            raise ZeroDivisionError("a bug")
        self.sent.append(message.event.task_id)


@pytest.fixture
def failing_on_completed(settings, monkeypatch):
    settings.NOTIFICATION_CHANNELS = ["failing_on_completed"]
    settings.NOTIFICATION_CHANNEL_CLASSES = {"failing_on_completed": f"{__name__}.FailingOnCompleted"}
    monkeypatch.setattr(FailingOnCompleted, "sent", [])
    channel.cache_clear()
    yield FailingOnCompleted
    channel.cache_clear()


def test_an_unrenderable_message_is_dead_lettered(ada, create_task, failing_on_completed, caplog):
    task, other = create_task(), create_task()
    for each, status in [(task, "completed"), (task, "todo"), (other, "in_progress")]:
        change(each, by=ada, status=status)
    poison = Delivery.objects.order_by("pk")[0]
    deliver_all()
    assert (states(), failing_on_completed.sent) == (["planned", "planned", "sent"], [other.pk])

    attempts = 1
    while outcome(pk=poison.pk)[0] == "planned":
        advance_time(hours=1)
        attempts += delivering.deliver_due(Delivery.objects.all(), delivering.send_message, limit=1)
    deliver_all()

    assert outcome(pk=poison.pk) == ("failed", "ZeroDivisionError: a bug")
    assert 20 < attempts < 40
    assert (states(), failing_on_completed.sent) == (["failed", "sent", "sent"], [other.pk, task.pk])
    assert f"delivery {poison.pk} is dead-lettered: ZeroDivisionError: a bug" in caplog.messages


def test_a_message_that_kills_workers_is_dead_lettered(ada, task):
    change(task, by=ada, status="completed")
    Delivery.objects.update(attempts=outbox.MAX_ATTEMPTS)

    deliver_all()

    assert states() == ["failed", "failed"]
    assert post.outbox == []


def test_deliveries_of_a_removed_channel_are_skipped(settings, ada, task):
    change(task, by=ada, status="completed")
    settings.NOTIFICATION_CHANNELS = ["log"]

    for job in delivering.jobs():
        while job.run():
            pass

    assert "planned" not in states()


# Outages of the mail server


@pytest.mark.django_db(transaction=True)
def test_after_an_outage_mails_arrive_in_order_per_task(ada, alice, create_task, settings, use_smtp):
    """50 changes; 1,000 with RACE_ROUNDS."""
    settings.NOTIFICATION_CHANNELS = ["email"]
    with serving() as server:
        use_smtp(server.port)
    tasks = [create_task(assigned_to=alice.id).pk for _ in range(100 if "RACE_ROUNDS" in os.environ else 5)]
    for number, task in product(range(10), tasks):
        Task.objects.filter(pk=task).change(by_id=ada.id, status="completed" if number % 2 else "in_progress")
    deliver_all()
    assert set(states()) == {"planned"}
    assert Delivery.objects.filter(attempts__gt=0).count() == len(tasks)  # only the first of each task

    advance_time(minutes=10)
    with serving(server.port) as server:
        deliver_all()

    assert states() == ["sent"] * 10 * len(tasks)
    seen = [message["Message-ID"] for _, _, message in server.received]
    ids = {message_id(pk, prefix="notification"): (pk, task) for pk, task in task_ids_by_delivery()}
    for task in tasks:
        sent_for_task = [ids[message][0] for message in seen if ids[message][1] == task]
        assert sent_for_task == sorted(set(sent_for_task))
        assert len(sent_for_task) == 10


# Crashes


def test_a_message_is_sent_again_with_its_id_after_a_crash(ada, task):
    change(task, by=ada, status="completed")
    (claimed,) = Delivery.objects.filter(channel="email").claim(1, lease_seconds=60)
    delivering.send_message(claimed)  # and then the worker is killed

    assert delivering.deliver_channel("email") == 0
    advance_time(seconds=61)
    assert delivering.deliver_channel("email") == 1

    first, second = [mail.message()["Message-ID"] for mail in post.outbox]
    assert first == second == message_id(claimed.pk, prefix="notification")
    assert states(channel="email") == ["sent"]


def test_each_channel_has_its_own_job(settings):
    assert {("deliver log", 2), ("deliver email", 2)} <= {(job.name, job.every_seconds) for job in delivering.jobs()}


# Constraints


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("event_kind_is_known", {"kind": "task_eaten"}),
        ("due_date_goes_with_reminders", {"kind": "task_assigned", "due_date": LONG_AGO}),
        ("due_date_goes_with_reminders", {"kind": "task_overdue"}),
        ("reminded_once", {"kind": "task_overdue", "due_date": LONG_AGO}),
    ],
)
def test_the_database_rejects_an_invalid_event(db, constraint, values):
    Event.objects.create(kind="task_overdue", due_date=LONG_AGO, task_id=1, task_title="Pay", text="x")

    with pytest.raises(IntegrityError, match=constraint):
        Event.objects.create(**{"task_id": 1, "task_title": "Pay", "text": "x"} | values)


@pytest.mark.parametrize("recipient_id", [102, None])
def test_the_database_rejects_a_duplicate_delivery(db, recipient_id):
    event = Event.objects.create(kind="task_assigned", task_id=1, task_title="Pay", text="x")
    for name in ("log", "email"):
        Delivery.objects.create(event=event, channel=name, recipient_id=recipient_id)

    with pytest.raises(IntegrityError, match="delivered_once"):
        Delivery.objects.create(event=event, channel="log", recipient_id=recipient_id)


def test_the_database_rejects_a_duplicate_inbox_entry(alice):
    event = Event.objects.create(kind="task_assigned", task_id=1, task_title="Pay", text="x")
    Notification.objects.create(event=event, recipient_id=alice.id)

    with pytest.raises(IntegrityError, match="notified_once"):
        Notification.objects.create(event=event, recipient_id=alice.id)
