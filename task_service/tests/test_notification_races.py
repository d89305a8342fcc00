"""Concurrency and killed workers. RACE_ROUNDS runs more rounds, up to 50."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from threading import Lock

import pytest
from django.utils import timezone

from chassis.testing.smtp_sink import END_OF_DATA, HANG, serving
from chassis.worker.mailing import message_id
from directory.models import User
from directory.person import Person as Account
from notifications import delivering
from notifications.channels import Channel, channel
from notifications.models import Delivery, Event, Notification, ReminderRun
from notifications.reminders import remind
from tasks.models import Task
from tests.deliveries import SMTP, advance_time, change, database_url, deliver_all, states

pytestmark = pytest.mark.django_db(transaction=True)

SERVICE = Path(__file__).resolve().parent.parent


def rounds():
    return min(int(os.environ.get("RACE_ROUNDS", 5)), 50)


class Memory(Channel):
    """Records messages from all threads."""

    lock, sent = Lock(), []

    def send(self, message):
        with self.lock:
            sent = [(entry.event.task_id, message.recipient.pk, message.id) for entry in message.entries]
            self.sent.extend(sent)


@pytest.fixture
def memory(settings, monkeypatch):
    settings.NOTIFICATION_CHANNELS = ["memory"]
    settings.NOTIFICATION_CHANNEL_CLASSES = {"memory": f"{__name__}.Memory"}
    monkeypatch.setattr(Memory, "sent", [])
    channel.cache_clear()
    yield Memory
    channel.cache_clear()


@pytest.fixture
def log(settings, tmp_path):
    settings.NOTIFICATION_CHANNELS = ["log"]
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")
    return lambda: [json.loads(line) for line in (tmp_path / "notifications.log").read_text().splitlines()]


def create_tasks(person, number, **values):
    return Task.objects.bulk_create(
        Task(title="Pay", created_by=person.id, assigned_to_id=person.id, **values) for _ in range(number)
    )


# Reminders


def test_ten_concurrent_runs_remind_once_per_task(ada, alice, at_once):
    for number in range(rounds()):
        ReminderRun.objects.all().delete()
        overdue = Task.objects.bulk_create(
            Task(title="Pay", created_by=ada.id, assigned_to_id=alice.id, due_date="2001-01-01") for _ in range(20)
        )
        soon = create_tasks(alice, 5, due_date=timezone.localdate())

        planned = at_once(*[(remind,)] * 10)

        assert sum(each["task_overdue"] for each in planned) == 20
        assert sum(each["task_due_soon"] for each in planned) == 5
        events = Event.objects.filter(task_id__in=[task.pk for task in overdue + soon])
        assert events.count() == events.values("task_id").distinct().count() == 25
        assert Notification.objects.count() == 45 * (number + 1)
        assert Delivery.objects.count() == 25 * (number + 1)
        assert ReminderRun.objects.count() == 1


def test_a_task_changed_during_a_run_is_reminded_or_skipped(ada, alice, create_task, at_once, log):
    for _ in range(rounds()):
        done, moved, gone = (create_task(assigned_to=alice.id, due_date="2001-01-01") for _ in range(3))

        at_once(
            (remind,),
            (delivering.deliver_channel, "log"),
            (ada.patch, f"/task/tasks/{done.pk}/", {"status": "completed"}),
            (ada.patch, f"/task/tasks/{moved.pk}/", {"due_date": "2096-01-01"}),
            (ada.delete, f"/task/tasks/{gone.pk}/"),
        )
        deliver_all()

        assert remind() == {"task_due_soon": 0, "task_overdue": 0}
        assert set(states()) <= {"sent", "skipped"}


# Workers


def test_eight_workers_send_each_message_once_in_order(ada, alice, grace, memory, at_once):
    def work():
        while Delivery.objects.filter(state="planned").exists():
            delivering.deliver_channel("memory")

    for number in range(rounds()):
        tasks = [task.pk for task in create_tasks(alice, 4)]
        Task.objects.filter(pk__in=tasks).update(created_by=grace.id)
        for status, task in product(("in_progress", "todo", "completed"), tasks):
            Task.objects.filter(pk=task).change(by_id=ada.id, status=status)

        at_once(*[(work,)] * 8)

        ids = [id_ for _, _, id_ in memory.sent]
        assert sorted(ids) == list(Delivery.objects.order_by("pk").values_list("pk", flat=True))
        assert len(ids) == 24 * (number + 1)
        for task in tasks:
            for person in (alice, grace):
                received = [id_ for task_id, to, id_ in memory.sent if (task_id, to) == (task, person.id)]
                assert received == sorted(received)
                assert len(received) == 3


def test_changes_while_sending_leave_nothing_pending(ada, alice, bob, create_task, memory, at_once):
    for _ in range(rounds()):
        kept, gone = (create_task(assigned_to=alice.id) for _ in range(2))
        for task in (kept, gone):
            change(task, by=ada, status="completed")

        *_, deleted = at_once(
            (delivering.deliver_channel, "memory"),
            (delivering.deliver_channel, "memory"),
            (ada.patch, f"/task/tasks/{kept.pk}/", {"assigned_to": bob.id}),
            (ada.delete, f"/task/tasks/{gone.pk}/"),
        )
        deliver_all()

        assert deleted.status_code == 204
        assert set(states()) <= {"sent", "skipped"}
        assert states(recipient_id=bob.id)[-1] == "sent"


def test_a_demotion_while_sending_leaves_nothing_pending(alice, grace, create_task, memory, at_once):
    for number in range(rounds()):
        task = create_task(assigned_to=alice.id, created_by=grace.id)
        User.objects.filter(pk=grace.id).update(role="admin", epoch=2 * number)
        for status in ("in_progress", "completed"):
            change(task, by=None, status=status)
        demoted = replace(account_in_directory(grace), role="user", epoch=2 * number + 1, position=2000 + number)

        at_once(
            (delivering.deliver_channel, "memory"),
            (delivering.deliver_channel, "memory"),
            (User.objects.upsert, [demoted]),
        )
        sent = len(memory.sent)
        deliver_all()

        assert [to for _, to, _ in memory.sent[sent:] if to == grace.id] == []
        assert set(states(recipient_id=grace.id)) <= {"sent", "skipped"}
        assert set(states(recipient_id=alice.id)) == {"sent"}
        assert grace.get("/task/notifications/").json()["results"] == []


def account_in_directory(person):
    row = User.objects.filter(pk=person.id).values().get()
    return Account(**row)


# Changes


def test_concurrent_changes_each_notify_once(ada, alice, create_task, at_once):
    for _ in range(rounds()):
        task = create_task(assigned_to=alice.id)
        path = f"/task/tasks/{task.pk}/"

        at_once(*[(ada.patch, path, {"status": status}) for status in ("completed", "in_progress") * 3])

        task.refresh_from_db()
        events = list(Event.objects.filter(task_id=task.pk).order_by("pk").values_list("old", "new"))
        assert len(events) == task.version - 1
        assert all(before[1] == after[0] for before, after in pairwise([(None, "todo"), *events]))
        assert events[-1][1] == task.status
        assert Notification.objects.filter(event__task_id=task.pk).count() == len(events)


# A killed worker


def test_a_mail_of_a_killed_worker_is_resent_with_its_id(ada, alice, create_task, settings):
    settings.NOTIFICATION_CHANNELS = ["email"]
    change(create_task(assigned_to=alice.id), by=ada, status="completed")
    with serving() as server:
        server.answers = {END_OF_DATA: HANG}  # it accepts the mail, but the worker gets no response
        values = {"DATABASE_URL": database_url(), "EMAIL_URL": f"smtp://127.0.0.1:{server.port}"}
        argv = [sys.executable, "manage.py", "run_worker"]
        environment = os.environ | values | {"NOTIFICATION_CHANNELS": "email", "LOG_LEVEL": "ERROR"}
        with subprocess.Popen(argv, cwd=SERVICE, env=environment) as worker:
            assert server.hanging.wait(20)
            worker.kill()
        server.answers = {}
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = SMTP, "127.0.0.1", server.port

        deliver_all()
        assert states() == ["planned"]
        advance_time(seconds=61)
        deliver_all()

    assert worker.returncode == -signal.SIGKILL
    assert states() == ["sent"]
    first, second = [message["Message-ID"] for _, _, message in server.received]
    assert first == second == message_id(Delivery.objects.get().pk, prefix="notification")
