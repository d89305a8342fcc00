"""The ledger: what became of what was planned about a task, for admins."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from chassis.testing.permission_table import response_content
from chassis.worker.outbox import MAX_ATTEMPTS
from directory.models import User
from notifications.models import Delivery, Event
from tests.conftest import Person, known
from tests.deliveries import change, deliver_all, let_pass

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def channels(settings, tmp_path):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")


@pytest.fixture
def task(a_task, alice):
    return a_task(title="Pay", assigned_to=alice.id)


def path(task_id):
    return f"/task/tasks/{task_id}/notifications/"


def ledger(person, task, query=""):
    return person.get(path(task.pk) + query).json()["results"]


def spoken(instant):
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
        "planned_at": spoken(planned.planned_at),
        "sent_at": None,
    }
    assert (line["channel"], line["recipient"], line["state"]) == ("log", None, "planned")


def test_what_was_sent_says_when(ada, task):
    change(task, by=ada, status="completed")
    deliver_all()

    (mail, line) = ledger(ada, task)

    sent = Delivery.objects.get(channel="email")
    assert (mail["state"], mail["attempts"], mail["reason"]) == ("sent", 1, None)
    assert mail["sent_at"] == spoken(sent.sent_at)
    assert (line["state"], line["sent_at"] > line["planned_at"]) == ("sent", True)


def test_what_was_skipped_what_waits_and_what_was_dead_lettered_say_why(ada, alice, bob, task, settings):
    change(task, by=ada, status="in_progress")
    change(task, by=ada, assigned_to_id=bob.id)
    settings.NOTIFICATION_LOG = "/nowhere/notifications.log"
    User.objects.filter(pk=bob.id).update(email="")
    deliver_all()

    by_recipient = {(entry["recipient"] or {}).get("username"): entry for entry in ledger(ada, task)}

    assert {name: (entry["state"], entry["reason"]) for name, entry in by_recipient.items() if name} == {
        "alice": ("skipped", "the task was reassigned"),
        "bob": ("skipped", "the account has no confirmed address"),
    }
    assert by_recipient[None]["state"] == "planned"
    assert by_recipient[None]["reason"].startswith("FileNotFoundError")


def test_a_dead_letter_stays_visible_until_it_is_replayed(ada, task):
    change(task, by=ada, status="completed")
    Delivery.objects.update(attempts=MAX_ATTEMPTS)
    deliver_all()
    let_pass(days=30)

    assert [(entry["state"], entry["reason"]) for entry in ledger(ada, task)] == [
        ("failed", f"claimed {MAX_ATTEMPTS} times without ever being marked")
    ] * 2


def test_a_recipient_whom_the_directory_does_not_know_is_nobody(ada, task):
    change(task, by=ada, status="completed")
    Delivery.objects.filter(channel="email").update(recipient_id=999)

    assert [(entry["channel"], entry["recipient"]) for entry in ledger(ada, task)] == [("email", None), ("log", None)]


def test_it_tells_of_one_task_alone(ada, a_task):
    one, other = a_task(), a_task()
    for task in (one, other):
        change(task, by=ada, status="completed")

    for task in (one, other):
        (entry,) = ledger(ada, task)
        assert Delivery.objects.get(pk=entry["id"]).event.task_id == task.pk
    assert ledger(ada, a_task()) == []


def test_pages_follow_each_other_newest_first(ada, a_task):
    task = a_task(created_by=ada.id)
    for status in ("in_progress", "todo", "completed"):
        change(task, by=ada, status=status)
    newest_first = list(Delivery.objects.order_by("-pk").values_list("pk", flat=True))

    first = ada.get(f"{path(task.pk)}?page_size=2").json()
    second = ada.get(first["next"]).json()

    assert [entry["id"] for entry in first["results"] + second["results"]] == newest_first
    assert len(newest_first) == 3
    assert second["next"] is None
    assert [entry["id"] for entry in ledger(ada, task, "?ordering=id")] == newest_first[::-1]


@pytest.mark.parametrize("query", ["?state=failed", "?ordering=event__old", "?page_size=0", "?cursor=x"])
def test_what_cannot_be_asked_is_refused(ada, task, query):
    assert ada.get(path(task.pk) + query).status_code == 400


def test_admins_alone_read_it_and_others_do_not_learn_whether_there_is_a_task(ada, alice, bob, charlie, task):
    former = known(Person(107, "dora", role="admin"), role="user", epoch=1)
    change(task, by=ada, status="completed")

    for person in (alice, bob, former):
        existing, missing = person.get(path(task.pk)), person.get(path(task.pk + 1))
        assert existing.status_code == 403
        assert response_content(existing) == response_content(missing)
    for person in (APIClient(), charlie):
        assert person.get(path(task.pk)).status_code == 401
    assert ada.get(path(task.pk + 1)).status_code == 404


def test_it_takes_no_more_than_3_statements(ada, alice, a_task):
    task = a_task(assigned_to=alice.id, created_by=alice.id)
    for status in ("in_progress", "todo") * 10:
        change(task, by=ada, status=status)
    assert Event.objects.count() == 20

    with CaptureQueriesContext(connection) as captured:
        assert len(ledger(ada, task, "?page_size=100")) == 40

    assert len(captured) <= 3
