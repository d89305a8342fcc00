"""The ledger: the deliveries of a task, for admins."""

import pytest

from chassis.testing.permission_table import response_content
from chassis.worker.outbox import MAX_ATTEMPTS
from directory.models import User
from notifications.models import Delivery, Event
from tests.deliveries import advance_time, change, deliver_all, delivery_ids

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def channels(settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]


def path(task_id):
    return f"/task/tasks/{task_id}/notifications/"


def ledger(person, task, query=""):
    return person.get(path(task.pk) + query).json()["results"]


def utc_text(instant):
    return instant.isoformat().replace("+00:00", "Z")


def test_it_works(ada, alice, task):
    change(task, by=ada, status="completed")

    (mail, line) = ledger(ada, task)

    planned = Delivery.objects.get(channel="email")
    assert mail == {
        "id": planned.pk,
        "kind": "task_status_changed",
        "recipient": {"id": alice.id, "username": "alice"},
        "channel": "email",
        "message_id": planned.pk,
        "state": "planned",
        "reason": None,
        "attempts": 0,
        "planned_at": utc_text(planned.planned_at),
        "sent_at": None,
    }
    assert (line["channel"], line["recipient"], line["state"]) == ("log", None, "planned")


def test_a_sent_delivery_has_sent_at(ada, task):
    change(task, by=ada, status="completed")
    deliver_all()

    (mail, line) = ledger(ada, task)

    assert (mail["state"], mail["attempts"], mail["reason"]) == ("sent", 1, None)
    assert mail["sent_at"] == utc_text(Delivery.objects.get(channel="email").sent_at)
    assert (line["state"], line["sent_at"] > line["planned_at"]) == ("sent", True)


def test_unsent_deliveries_have_a_reason(ada, alice, bob, task, settings):
    change(task, by=ada, status="in_progress")
    change(task, by=ada, assigned_to_id=bob.id)
    settings.NOTIFICATION_LOG = "/nowhere/notifications.log"
    User.objects.filter(pk=bob.id).update(email="")
    deliver_all()

    entries = {
        (entry["recipient"] or {}).get("username"): (entry["state"], entry["reason"]) for entry in ledger(ada, task)
    }

    state, reason = entries.pop(None)
    assert entries == {
        "alice": ("skipped", "the task was reassigned"),
        "bob": ("skipped", "the account has no confirmed address"),
    }
    assert (state, reason.partition(":")[0]) == ("planned", "FileNotFoundError")


def test_a_dead_letter_is_listed_until_it_is_replayed(ada, task):
    change(task, by=ada, status="completed")
    Delivery.objects.update(attempts=MAX_ATTEMPTS)
    deliver_all()
    advance_time(days=30)

    failed = ("failed", f"claimed {MAX_ATTEMPTS} times without ever being marked")
    assert [(entry["state"], entry["reason"]) for entry in ledger(ada, task)] == [failed] * 2


def test_an_unknown_recipient_is_null(ada, task):
    change(task, by=ada, status="completed")
    Delivery.objects.filter(channel="email").update(recipient_id=999)

    assert [(entry["channel"], entry["recipient"]) for entry in ledger(ada, task)] == [("email", None), ("log", None)]


def test_it_lists_deliveries_of_one_task(ada, create_task):
    one, other, unchanged = (create_task() for _ in range(3))
    for task in (one, other):
        change(task, by=ada, status="completed")

    for task in (one, other, unchanged):
        assert [entry["id"] for entry in ledger(ada, task)] == delivery_ids(event__task_id=task.pk)


def test_pages_are_newest_first(ada, create_task):
    task = create_task(created_by=ada.id)
    for status in ("in_progress", "todo", "completed"):
        change(task, by=ada, status=status)

    first = ada.get(f"{path(task.pk)}?page_size=2").json()
    second = ada.get(first["next"]).json()

    ids = [entry["id"] for entry in first["results"] + second["results"]]
    assert ids[::-1] == delivery_ids() == [entry["id"] for entry in ledger(ada, task, "?ordering=id")]
    assert (len(ids), second["next"]) == (3, None)


def test_users_are_403_even_if_the_task_does_not_exist(ada, alice, task):
    existing, missing = (alice.get(path(id_)) for id_ in (task.pk, task.pk + 1))

    assert existing.status_code == 403
    assert response_content(existing) == response_content(missing)
    assert ada.get(path(task.pk + 1)).status_code == 404


def test_it_takes_at_most_3_statements(ada, alice, create_task, django_assert_max_num_queries):
    task = create_task(assigned_to=alice.id, created_by=alice.id)
    for status in ("in_progress", "todo") * 10:
        change(task, by=ada, status=status)
    assert Event.objects.count() == 20

    with django_assert_max_num_queries(3):
        assert len(ledger(ada, task, "?page_size=100")) == 40
