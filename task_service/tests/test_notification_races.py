"""Concurrent reminders, workers and changes."""

from dataclasses import replace
from itertools import pairwise, product
from threading import Lock

import pytest
from django.utils import timezone

from directory.models import User
from directory.person import Person as Account
from notifications import delivering
from notifications.channels import Channel
from notifications.models import Delivery, Event, Notification, ReminderRun
from notifications.reminders import remind
from tasks.models import Task
from tests.deliveries import change, deliver_all, delivery_ids, only_channel, states

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.slow)]),
]


class Memory(Channel):
    """Records (task, recipient, message) from all threads."""

    def __init__(self):
        self.lock, self.sent = Lock(), []

    def send(self, message):
        with self.lock:
            self.sent.extend((entry.event.task_id, message.recipient.pk, message.id) for entry in message.entries)


@pytest.fixture
def memory(settings):
    with only_channel(settings, Memory) as channel:
        yield channel


def create_tasks(number, **values):
    return Task.objects.bulk_create(Task(title="Pay", **values) for _ in range(number))


# Reminders


def test_ten_concurrent_runs_remind_once_per_task(ada, alice, at_once, rounds):
    for number in range(rounds):
        ReminderRun.objects.all().delete()
        overdue = create_tasks(20, created_by=ada.id, assigned_to_id=alice.id, due_date="2001-01-01")
        soon = create_tasks(5, created_by=alice.id, assigned_to_id=alice.id, due_date=timezone.localdate())

        planned = at_once(*[(remind,)] * 10)

        assert sum(each["task_overdue"] for each in planned) == 20
        assert sum(each["task_due_soon"] for each in planned) == 5
        events = Event.objects.filter(task_id__in=[task.pk for task in overdue + soon])
        assert events.count() == events.values("task_id").distinct().count() == 25
        assert Notification.objects.count() == 45 * (number + 1)
        assert Delivery.objects.count() == 25 * (number + 1)
        assert ReminderRun.objects.count() == 1


def test_a_task_changed_during_a_run_is_reminded_or_skipped(ada, alice, create_task, at_once, rounds):
    for _ in range(rounds):
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


def test_eight_workers_send_each_message_once_in_order(ada, alice, grace, memory, at_once, rounds):
    def work():
        while Delivery.objects.filter(state="planned").exists():
            delivering.deliver_channel("test")

    for number in range(rounds):
        tasks = [task.pk for task in create_tasks(4, created_by=grace.id, assigned_to_id=alice.id)]
        for status, task in product(("in_progress", "todo", "completed"), tasks):
            Task.objects.filter(pk=task).change(by_id=ada.id, status=status)

        at_once(*[(work,)] * 8)

        ids = [id_ for _, _, id_ in memory.sent]
        assert sorted(ids) == delivery_ids()
        assert len(ids) == 24 * (number + 1)
        for task, person in product(tasks, (alice, grace)):
            received = [id_ for task_id, to, id_ in memory.sent if (task_id, to) == (task, person.id)]
            assert received == sorted(received)
            assert len(received) == 3


def test_changes_while_sending_leave_nothing_pending(ada, alice, bob, create_task, memory, at_once, rounds):
    for _ in range(rounds):
        kept, gone = (create_task(assigned_to=alice.id) for _ in range(2))
        for task in (kept, gone):
            change(task, by=ada, status="completed")

        *_, deleted = at_once(
            *[(delivering.deliver_channel, "test")] * 2,
            (ada.patch, f"/task/tasks/{kept.pk}/", {"assigned_to": bob.id}),
            (ada.delete, f"/task/tasks/{gone.pk}/"),
        )
        deliver_all()

        assert deleted.status_code == 204
        assert set(states()) <= {"sent", "skipped"}
        assert states(recipient_id=bob.id)[-1] == "sent"


def test_a_demotion_while_sending_leaves_nothing_pending(alice, grace, create_task, memory, at_once, rounds):
    for number in range(rounds):
        task = create_task(assigned_to=alice.id, created_by=grace.id)
        User.objects.filter(pk=grace.id).update(role="admin", epoch=2 * number)
        for status in ("in_progress", "completed"):
            change(task, by=None, status=status)
        account = Account(**User.objects.values().get(pk=grace.id))
        demoted = replace(account, role="user", epoch=2 * number + 1, position=2000 + number)

        at_once(*[(delivering.deliver_channel, "test")] * 2, (User.objects.upsert, [demoted]))
        sent = len(memory.sent)
        deliver_all()

        assert [to for _, to, _ in memory.sent[sent:] if to == grace.id] == []
        assert set(states(recipient_id=grace.id)) <= {"sent", "skipped"}
        assert set(states(recipient_id=alice.id)) == {"sent"}
        assert grace.get("/task/notifications/").json()["results"] == []


# Changes


def test_concurrent_changes_each_notify_once(ada, alice, create_task, at_once, rounds):
    for _ in range(rounds):
        task = create_task(assigned_to=alice.id)
        path = f"/task/tasks/{task.pk}/"

        at_once(*[(ada.patch, path, {"status": status}) for status in ("completed", "in_progress") * 3])

        task.refresh_from_db()
        events = list(Event.objects.filter(task_id=task.pk).order_by("pk").values_list("old", "new"))
        assert len(events) == task.version - 1
        assert all(before[1] == after[0] for before, after in pairwise([(None, "todo"), *events]))
        assert events[-1][1] == task.status
        assert Notification.objects.filter(event__task_id=task.pk).count() == len(events)
