"""Which facts are announced, and what is planned for whom in the transaction in which they become true."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from directory.models import User
from directory.person import Person as Account
from notifications.models import Delivery, Event, Notification
from tasks.models import Task
from tasks.signals import tasks_changed
from tests.conftest import known
from tests.deliveries import change

pytestmark = pytest.mark.django_db

LIST, BULK = "/task/tasks/", "/task/tasks/bulk/"
SERVICE = Path(__file__).resolve().parent.parent
STATUS, ASSIGNED = "status", "assigned_to"
SAVEPOINTS = ("SAVEPOINT", "RELEASE")


def path(task):
    return f"{LIST}{task.pk}/"


def inboxes():
    """Return who finds which kind of event in the inbox."""
    return list(Notification.objects.order_by("pk").values_list("event__kind", "recipient_id"))


def planned():
    return set(Delivery.objects.values_list("channel", "recipient_id"))


@pytest.fixture
def heard():
    """What a listener hears: of which fact, from what to what, by whom."""
    announced = []

    def note(changes, by_id, **_):
        for field in (STATUS, ASSIGNED):
            facts = [(each.task.pk, each.old, each.new) for each in changes if each.field == field]
            if facts:
                announced.append((field, facts, by_id))

    tasks_changed.connect(note)
    yield announced
    tasks_changed.disconnect(note)


@pytest.fixture
def failing_listener():
    def fail(**_):
        raise ZeroDivisionError()

    tasks_changed.connect(fail)
    yield
    tasks_changed.disconnect(fail)


@pytest.fixture
def both(settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]


@pytest.fixture
def task(a_task, alice):
    return a_task(title="Pay", assigned_to=alice.id, status="in_progress")


# What is announced


def test_it_works(ada, alice, heard, both):
    task = ada.post(LIST, {"title": "Pay", "assigned_to": alice.id}).json()

    assert heard == [(ASSIGNED, [(task["id"], None, alice.id)], ada.id)]
    event = Event.objects.get()
    assert (event.kind, event.old, event.new, event.by_id) == ("task_assigned", None, alice.id, ada.id)
    assert (event.task_id, event.task_title, event.text) == (task["id"], "Pay", "ada assigned alice to \u2068Pay\u2069")
    assert inboxes() == [("task_assigned", alice.id)]
    assert planned() == {("log", None), ("email", alice.id)}


@pytest.mark.parametrize(
    ("method", "body", "facts"),
    [
        ("patch", {"status": "completed"}, [(STATUS, "in_progress", "completed")]),
        ("patch", {"status": "To Do", "title": "Pay now"}, [(STATUS, "in_progress", "todo")]),
        ("patch", {"assigned_to": 103}, [(ASSIGNED, 102, 103)]),
        ("patch", {"assigned_to": None}, [(ASSIGNED, 102, None)]),
        ("patch", {"assigned_to": 103, "status": "todo"}, [(STATUS, "in_progress", "todo"), (ASSIGNED, 102, 103)]),
        ("put", {"title": "Pay"}, [(STATUS, "in_progress", "todo"), (ASSIGNED, 102, None)]),
        ("put", {"title": "x", "status": "completed", "assigned_to": 102}, [(STATUS, "in_progress", "completed")]),
    ],
)
def test_each_fact_is_announced_once_with_the_old_and_the_new_value(ada, bob, task, heard, method, body, facts):
    assert getattr(ada, method)(path(task), body).status_code == 200

    assert heard == [(name, [(task.pk, old, new)], ada.id) for name, old, new in facts]
    events = Event.objects.exclude(kind="task_unassigned").order_by("pk")
    assert list(events.values_list("old", "new")) == [(old, new) for _, old, new in facts]


def test_a_bulk_change_announces_each_fact_once_with_all_tasks_that_it_changed(ada, alice, a_task, heard):
    tasks = [a_task(status=status) for status in ("todo", "completed", "in_progress")]
    ids = [task.pk for task in tasks]

    ada.post(BULK, {"ids": ids[::-1], "set": {"status": "completed", "assigned_to": alice.id}})

    assert heard == [
        (STATUS, [(ids[0], "todo", "completed"), (ids[2], "in_progress", "completed")], ada.id),
        (ASSIGNED, [(id_, None, alice.id) for id_ in ids], ada.id),
    ]


def test_a_deleted_account_announces_once_that_its_tasks_are_nobodys(ada, alice, a_task, heard):
    ids = [a_task(title=f"Task {number}", assigned_to=alice.id).pk for number in range(3)]

    User.objects.upsert([Account.deleted(alice.id, 1001)])

    assert heard == [(ASSIGNED, [(id_, alice.id, None) for id_ in ids], None)]
    assert inboxes() == [("task_assigned", ada.id)] * 3
    assert list(Event.objects.order_by("pk").values_list("text", "by_id")) == [
        (f"The system unassigned \u2068Task {number}\u2069", None) for number in range(3)
    ]


def test_a_listener_is_given_the_task_as_it_is_now(ada, bob, task):
    given = []

    def note(changes, **_):
        given.extend(each.task for each in changes if each.field == STATUS)

    tasks_changed.connect(note)
    ada.patch(path(task), {"status": "completed", "title": "Pay now", "assigned_to": bob.id})
    tasks_changed.disconnect(note)

    (now,) = given
    assert (now.title, now.status, now.version, now.assignee_name) == ("Pay now", "completed", 2, "bob")
    assert now.completed_at is not None


@pytest.mark.parametrize(
    "body",
    [
        {"title": "Feed the cat"},
        {"description": "Twice.", "priority": "high", "due_date": "2001-01-01"},
        {"status": "in_progress"},
        {"status": "In Progress", "assigned_to": 102, "title": "Feed the cat"},
        {},
    ],
    ids=str,
)
def test_other_edits_and_values_it_has_already_announce_nothing(ada, task, heard, body):
    assert ada.patch(path(task), body).status_code == 200
    if body:
        assert ada.post(BULK, {"ids": [task.pk], "set": body}).status_code == 200

    assert heard == []
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("person", "body", "headers", "status"),
    [
        ("ada", {"status": "completed", "title": ""}, {}, 400),
        ("ada", {"status": "completed", "assigned_to": 99}, {}, 400),
        ("ada", {"status": "completed"}, {"If-Match": '"7.stale"'}, 412),
        ("alice", {"status": "completed"}, {}, 403),
        ("bob", {"status": "completed"}, {}, 404),
    ],
)
def test_what_is_refused_announces_nothing(request, user_service, task, heard, person, body, headers, status):
    answer = request.getfixturevalue(person).patch(path(task), body, headers=headers)

    assert answer.status_code == status
    assert heard == []
    assert not Event.objects.exists()


def test_a_task_without_assignee_and_a_deletion_announce_nothing(ada, heard):
    location = ada.post(LIST, {"title": "Pay", "status": "completed"})["Location"]
    assert ada.delete(location).status_code == 204

    assert heard == []


def test_a_post_that_is_sent_again_is_told_of_once(ada, alice, heard):
    for _ in range(2):
        answer = ada.post(LIST, {"title": "Pay", "assigned_to": alice.id}, headers={"Idempotency-Key": "once"})
        assert answer.status_code == 201

    assert len(heard) == Event.objects.count() == 1


# In the same transaction


@pytest.mark.usefixtures("failing_listener")
@pytest.mark.parametrize("body", [{"status": "completed"}, {"assigned_to": None}], ids=str)
def test_where_a_listener_fails_the_change_and_all_that_was_planned_are_undone(ada, task, body):
    with pytest.raises(ZeroDivisionError):
        ada.patch(path(task), body)

    task.refresh_from_db()
    assert (task.status, task.assigned_to_id, task.version) == ("in_progress", 102, 1)
    assert not Event.objects.exists()
    assert not Delivery.objects.exists()
    assert not Notification.objects.exists()


def test_a_change_that_is_rolled_back_takes_its_notifications_along(ada, task):
    with transaction.atomic():
        change(task, by=None, status="completed")
        assert (Event.objects.count(), Notification.objects.count(), Delivery.objects.count()) == (1, 2, 1)
        transaction.set_rollback(True)

    assert not Event.objects.exists()
    assert not Notification.objects.exists()
    assert not Delivery.objects.exists()


def test_a_bulk_change_with_an_id_that_does_not_exist_tells_nobody(ada, task):
    answer = ada.post(BULK, {"ids": [task.pk, task.pk + 1], "set": {"status": "completed"}})

    assert answer.status_code == 400
    assert not Event.objects.exists()


def test_a_hundred_tasks_changed_in_both_ways_take_no_more_than_13_statements(ada, alice, grace, both):
    Task.objects.bulk_create(Task(title="Pay", created_by=grace.id) for _ in range(100))
    ids = list(Task.objects.values_list("pk", flat=True))

    with CaptureQueriesContext(connection) as captured:
        answer = ada.post(BULK, {"ids": ids, "set": {"status": "in_progress", "assigned_to": alice.id}})

    assert answer.status_code == 200
    assert len([each for each in captured if not each["sql"].startswith(SAVEPOINTS)]) <= 13
    assert (Event.objects.count(), Notification.objects.count(), Delivery.objects.count()) == (200, 400, 600)


# Who is told


@pytest.mark.parametrize(
    ("assignee", "creator", "by", "told"),
    [
        (102, 109, 101, [102, 109]),
        (102, 109, 102, [109]),
        (102, 109, 109, [102]),
        (102, 109, None, [102, 109]),
        (109, 109, 101, [109]),
        (109, 109, 109, []),
        (None, 109, 101, [109]),
        (None, 101, 101, []),
    ],
)
def test_assignee_and_creator_are_told_once_but_not_who_did_it(
    ada, alice, grace, a_task, both, assignee, creator, by, told
):
    task = a_task(assigned_to=assignee, created_by=creator)

    Task.objects.filter(pk=task.pk).change(by_id=by, status="completed")

    assert inboxes() == [("task_status_changed", id_) for id_ in told]
    assert planned() == {("log", None), *(("email", id_) for id_ in told)}
    assert Delivery.objects.count() == 1 + len(told)


def test_of_a_reassignment_the_new_and_the_former_assignee_hear(ada, alice, bob, task):
    ada.patch(path(task), {"assigned_to": bob.id})

    assert inboxes() == [("task_assigned", bob.id), ("task_unassigned", alice.id)]
    texts = ["ada assigned bob to \u2068Pay\u2069", "ada unassigned you from \u2068Pay\u2069"]
    assert list(Event.objects.order_by("pk").values_list("text", flat=True)) == texts


def test_an_assignee_who_moves_a_task_is_not_told_but_its_creator_is(settings, ada, alice, task):
    settings.ASSIGNEES_CAN_UPDATE_STATUS = True

    assert alice.patch(path(task), {"status": "completed"}).status_code == 200

    assert inboxes() == [("task_status_changed", ada.id)]
    assert Event.objects.get().text == "alice completed \u2068Pay\u2069"


def test_nobody_hears_of_anothers_task(ada, alice, bob, task):
    dora = known(type(bob)(107, "dora"))
    change(task, by=ada, status="completed")

    assert [client.get("/task/notifications/").json()["results"] for client in (bob, dora)] == [[], []]


# By which channels


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (["log"], {("log", None)}),
        (["email"], {("email", 102)}),
        (["log", "email"], {("log", None), ("email", 102)}),
    ],
)
def test_only_the_channels_that_are_set_are_used_and_the_inbox_always_is(settings, ada, task, channels, expected):
    settings.NOTIFICATION_CHANNELS = channels

    change(task, by=ada, status="completed")

    assert planned() == expected
    assert inboxes() == [("task_status_changed", 102)]


def test_a_channel_that_nobody_knows_is_refused_at_the_start_in_one_sentence():
    argv = [sys.executable, "manage.py", "check"]
    values = os.environ | {"NOTIFICATION_CHANNELS": "log,pigeon"}

    done = subprocess.run(argv, cwd=SERVICE, env=values, capture_output=True, text=True, check=False)

    sentence = "NOTIFICATION_CHANNELS must be one or more of log, email, separated by commas."
    assert (done.returncode, done.stderr) == (78, f"task_service: {sentence}\n")
