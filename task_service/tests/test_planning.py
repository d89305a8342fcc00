"""Signals of changes, and the notifications planned in the same transaction."""

import pytest
from django.db import transaction

from directory.models import User
from directory.person import Person as Account
from notifications.models import Delivery, Event, Notification
from tasks.models import Task
from tasks.signals import tasks_changed
from tests.deliveries import change, run

pytestmark = pytest.mark.django_db

LIST, BULK = "/task/tasks/", "/task/tasks/bulk/"
STATUS, ASSIGNED = "status", "assigned_to"


def path(task):
    return f"{LIST}{task.pk}/"


def inboxes():
    """Return kind and recipient of each inbox entry."""
    return list(Notification.objects.order_by("pk").values_list("event__kind", "recipient_id"))


def planned():
    return set(Delivery.objects.values_list("channel", "recipient_id"))


def counts():
    return Event.objects.count(), Notification.objects.count(), Delivery.objects.count()


@pytest.fixture
def connect():
    """Return a function that connects a receiver of changes for the time of the test."""
    connected = []

    def add(receiver):
        connected.append(receiver)
        tasks_changed.connect(receiver)

    yield add
    for receiver in connected:
        tasks_changed.disconnect(receiver)


@pytest.fixture
def received(connect):
    """The changes that a receiver got, as (field, [(task, old, new)], actor)."""
    announced = []

    def record(changes, by_id, **_):
        for field in (STATUS, ASSIGNED):
            facts = [(each.task.pk, each.old, each.new) for each in changes if each.field == field]
            if facts:
                announced.append((field, facts, by_id))

    connect(record)
    return announced


@pytest.fixture
def log_and_email(settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]


@pytest.fixture
def task(create_task, alice):
    return create_task(title="Pay", assigned_to=alice.id, status="in_progress")


# Signals


def test_it_works(ada, alice, received, log_and_email):
    task = ada.post(LIST, {"title": "Pay", "assigned_to": alice.id}).json()

    assert received == [(ASSIGNED, [(task["id"], None, alice.id)], ada.id)]
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
def test_each_change_is_announced_with_old_and_new_value(ada, bob, task, received, method, body, facts):
    assert getattr(ada, method)(path(task), body).status_code == 200

    assert received == [(name, [(task.pk, old, new)], ada.id) for name, old, new in facts]
    events = Event.objects.exclude(kind="task_unassigned").order_by("pk")
    assert list(events.values_list("old", "new")) == [(old, new) for _, old, new in facts]


def test_a_bulk_change_is_announced_once_with_all_tasks(ada, alice, create_task, received):
    ids = [create_task(status=status).pk for status in ("todo", "completed", "in_progress")]

    ada.post(BULK, {"ids": ids[::-1], "set": {"status": "completed", "assigned_to": alice.id}})

    assert received == [
        (STATUS, [(ids[0], "todo", "completed"), (ids[2], "in_progress", "completed")], ada.id),
        (ASSIGNED, [(id_, None, alice.id) for id_ in ids], ada.id),
    ]


def test_a_deleted_account_announces_its_unassigned_tasks_once(ada, alice, create_task, received):
    ids = [create_task(title=f"Task {number}", assigned_to=alice.id).pk for number in range(3)]

    User.objects.upsert([Account.deleted(alice.id, 1001)])

    assert received == [(ASSIGNED, [(id_, alice.id, None) for id_ in ids], None)]
    assert inboxes() == [("task_assigned", ada.id)] * 3
    assert list(Event.objects.order_by("pk").values_list("text", "by_id")) == [
        (f"The system unassigned \u2068Task {number}\u2069", None) for number in range(3)
    ]


def test_receivers_get_the_changed_task(ada, bob, task, connect):
    given = []
    connect(lambda changes, **_: given.extend(each.task for each in changes if each.field == STATUS))

    ada.patch(path(task), {"status": "completed", "title": "Pay now", "assigned_to": bob.id})

    (now,) = given
    assert (now.title, now.status, now.version, now.assignee_name) == ("Pay now", "completed", 2, "bob")
    assert now.completed_at is not None


@pytest.mark.parametrize(
    "body",
    [
        {"title": "Feed the cat"},
        {"description": "Twice.", "priority": "high", "due_date": "2001-01-01"},
        {"status": "In Progress", "assigned_to": 102, "title": "Feed the cat"},
        {},
    ],
    ids=str,
)
def test_other_edits_are_not_announced(ada, task, received, body):
    assert ada.patch(path(task), body).status_code == 200
    if body:
        assert ada.post(BULK, {"ids": [task.pk], "set": body}).status_code == 200

    assert (received, counts()) == ([], (0, 0, 0))


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
def test_rejected_changes_are_not_announced(request, user_service, task, received, person, body, headers, status):
    answer = request.getfixturevalue(person).patch(path(task), body, headers=headers)

    assert answer.status_code == status
    assert (received, counts()) == ([], (0, 0, 0))


def test_a_rejected_bulk_change_notifies_nobody(ada, task):
    answer = ada.post(BULK, {"ids": [task.pk, task.pk + 1], "set": {"status": "completed"}})

    assert (answer.status_code, counts()) == (400, (0, 0, 0))


def test_creating_unassigned_and_deleting_announce_no_change(ada, received):
    location = ada.post(LIST, {"title": "Pay", "status": "completed"})["Location"]
    assert ada.delete(location).status_code == 204

    assert received == []


def test_a_repeated_post_notifies_once(ada, alice, received):
    for _ in range(2):
        answer = ada.post(LIST, {"title": "Pay", "assigned_to": alice.id}, headers={"Idempotency-Key": "once"})
        assert answer.status_code == 201

    assert len(received) == Event.objects.count() == 1


# One transaction


@pytest.mark.parametrize("body", [{"status": "completed"}, {"assigned_to": None}], ids=str)
def test_a_failing_receiver_rolls_everything_back(ada, task, connect, body):
    connect(lambda **_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        ada.patch(path(task), body)

    task.refresh_from_db()
    assert (task.status, task.assigned_to_id, task.version) == ("in_progress", 102, 1)
    assert counts() == (0, 0, 0)


def test_a_rolled_back_change_has_no_notifications(ada, task):
    with transaction.atomic():
        change(task, by=None, status="completed")
        assert counts() == (1, 2, 1)
        transaction.set_rollback(True)

    assert counts() == (0, 0, 0)


# Recipients and channels


@pytest.mark.parametrize(
    ("assignee", "creator", "by", "notified"),
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
def test_assignee_and_creator_are_notified_but_not_the_actor(
    ada, alice, bob, grace, create_task, log_and_email, assignee, creator, by, notified
):
    task = create_task(assigned_to=assignee, created_by=creator)

    Task.objects.filter(pk=task.pk).change(by_id=by, status="completed")

    assert inboxes() == [("task_status_changed", id_) for id_ in notified]
    assert planned() == {("log", None), *(("email", id_) for id_ in notified)}
    assert Delivery.objects.count() == 1 + len(notified)


def test_a_reassignment_notifies_both_assignees(ada, alice, bob, task):
    ada.patch(path(task), {"assigned_to": bob.id})

    assert inboxes() == [("task_assigned", bob.id), ("task_unassigned", alice.id)]
    texts = ["ada assigned bob to \u2068Pay\u2069", "ada unassigned you from \u2068Pay\u2069"]
    assert list(Event.objects.order_by("pk").values_list("text", flat=True)) == texts


@pytest.mark.parametrize(
    ("channels", "expected"), [(["log"], {("log", None)}), (["email"], {("email", 102)})], ids=["log", "email"]
)
def test_the_inbox_and_configured_channels_are_used(settings, ada, task, channels, expected):
    settings.NOTIFICATION_CHANNELS = channels

    change(task, by=ada, status="completed")

    assert planned() == expected
    assert inboxes() == [("task_status_changed", 102)]


def test_an_unknown_channel_prevents_the_start():
    sentence = "NOTIFICATION_CHANNELS must be one or more of log, email, separated by commas."

    status, _, errors = run("manage.py", "check", NOTIFICATION_CHANNELS="log,pigeon")

    assert (status, errors) == (78, f"task_service: {sentence}\n")
