"""Nobody is notified of a task that they cannot see: not by mail, in the inbox or by a reminder."""

from contextlib import suppress

import pytest
from django.core import mail
from django.utils import timezone

from chassis.testing.permission_table import response_content
from chassis.worker.outbox import Skipped
from directory.models import User
from directory.person import Person as Account
from notifications.models import Delivery, Notification
from notifications.reminders import remind
from tasks.models import Task
from tests.conftest import Person, add_to_directory
from tests.deliveries import change, deliver_all, outcome, sent_mails

pytestmark = pytest.mark.django_db

INBOX = "/task/notifications/"
NOT_VISIBLE = ("skipped", "the account can no longer see the task")


@pytest.fixture(autouse=True)
def email_only(settings):
    settings.NOTIFICATION_CHANNELS = ["email"]


@pytest.fixture
def dora(directory):
    """An admin who creates tasks and can be demoted."""
    return add_to_directory(Person(107, "dora", role="admin"))


@pytest.fixture
def task(create_task, alice, dora):
    return create_task(title="Pay", assigned_to=alice.id, created_by=dora.id)


def demote(person):
    User.objects.filter(pk=person.id).update(role="user")


def promote(person):
    User.objects.filter(pk=person.id).update(role="admin")


def deactivate(person):
    User.objects.filter(pk=person.id).update(is_active=False)


def delete_account(person):
    User.objects.upsert([Account.deleted(person.id, 2000)])


def delete_task(task, *, by):
    assert by.delete(f"/task/tasks/{task.pk}/").status_code == 204


def items(person, query=""):
    return person.get(INBOX + query).json()["results"]


def messages(person, query=""):
    return [item["message"] for item in items(person, query)]


def mailed():
    """Deliver everything and return the recipients of all mails so far."""
    deliver_all()
    return sorted(to for to, _ in sent_mails())


def notified(model=Notification):
    return set(model.objects.values_list("recipient_id", flat=True))


# Planning


@pytest.mark.parametrize("lose_sight", [demote, deactivate, delete_account])
def test_a_creator_who_cannot_see_the_task_is_not_notified(ada, alice, dora, task, lose_sight):
    lose_sight(dora)

    change(task, by=ada, status="completed")
    ada.post("/task/tasks/bulk/", {"ids": [task.pk], "set": {"status": "todo", "assigned_to": None}})
    change(task, by=ada, assigned_to_id=alice.id)

    assert notified(Delivery) == notified(Notification) == {alice.id}


@pytest.mark.parametrize("due_date", ["2001-01-01", "today"])
def test_a_demoted_creator_gets_no_reminder(alice, dora, create_task, due_date):
    demote(dora)
    due = timezone.localdate() if due_date == "today" else due_date
    create_task(assigned_to=alice.id, created_by=dora.id, due_date=due)

    remind()

    assert mailed() == ["alice"]
    assert notified() == {alice.id}


def test_a_demoted_creator_who_is_assigned_is_notified(ada, dora, task):
    demote(dora)

    change(task, by=ada, assigned_to_id=dora.id)

    assert mailed() == ["alice", "dora"]
    assert messages(dora) == ["ada assigned dora to \u2068Pay\u2069"]


def test_an_inactive_assignee_is_not_notified(ada, alice, dora, task):
    deactivate(alice)

    change(task, by=ada, status="completed")

    assert notified() == {dora.id}


def test_missed_notifications_are_not_sent_later(ada, dora, task):
    demote(dora)
    change(task, by=ada, status="completed")

    promote(dora)

    assert mailed() == ["alice"]
    assert messages(dora) == []


# Sending


@pytest.mark.parametrize("kind", ["change", "reminder"])
def test_a_mail_planned_before_a_demotion_is_skipped(ada, dora, task, kind):
    if kind == "change":
        change(task, by=ada, status="completed")
    else:
        Task.objects.update(due_date="2001-01-01")
        remind()
    demote(dora)

    assert mailed() == ["alice"]
    assert outcome(recipient_id=dora.id) == NOT_VISIBLE


@pytest.mark.parametrize("see_again", [lambda dora, task: promote(dora), lambda dora, task: reassign(task, dora)])
def test_a_skipped_mail_stays_skipped_when_the_task_is_visible(ada, dora, create_task, see_again):
    task = create_task(created_by=dora.id, due_date="2001-01-01")
    remind()
    demote(dora)
    deliver_all()

    see_again(dora, task)
    remind()

    assert mailed() == []
    assert outcome(recipient_id=dora.id) == NOT_VISIBLE


def reassign(task, person):
    Task.objects.filter(pk=task.pk).update(assigned_to=person.id)


# The inbox


def test_a_demoted_creators_inbox_hides_tasks_of_others(ada, dora, task, create_task):
    own = create_task(title="Call", assigned_to=dora.id)
    for each in (task, own):
        change(each, by=ada, status="completed")

    demote(dora)
    assert messages(dora) == ["ada completed \u2068Call\u2069"]

    promote(dora)
    assert len(messages(dora)) == 2


def test_a_former_assignees_inbox_hides_the_task(ada, alice, bob, task):
    change(task, by=ada, status="completed")
    expected = ["ada completed \u2068Pay\u2069"]
    assert messages(alice) == expected

    change(task, by=ada, assigned_to_id=bob.id)
    lost = ["ada unassigned you from \u2068Pay\u2069"]
    assert messages(alice) == messages(alice, "?unread=true") == lost
    assert messages(bob) == ["ada assigned bob to \u2068Pay\u2069"]

    change(task, by=ada, assigned_to_id=alice.id)
    assert messages(alice) == ["ada assigned alice to \u2068Pay\u2069", *lost, *expected]


def test_a_hidden_entry_cannot_be_marked_as_read(ada, alice, bob, task):
    change(task, by=ada, status="completed")
    (item,) = items(alice)
    change(task, by=ada, assigned_to_id=bob.id)

    hidden, missing = (alice.post(f"{INBOX}{id_}/read/") for id_ in (item["id"], item["id"] + 1000))

    assert hidden.status_code == 404
    assert response_content(hidden) == response_content(missing)
    assert Notification.objects.get(pk=item["id"]).read_at is None


def test_entries_of_a_deleted_task_are_marked_as_gone(ada, alice, dora, task):
    change(task, by=ada, status="completed")

    delete_task(task, by=ada)

    for person in (alice, dora):
        deleted, completed = items(person)
        assert (deleted["kind"], deleted["message"]) == ("task_deleted", "ada deleted \u2068Pay\u2069")
        assert deleted["task"] == completed["task"] == {"id": task.pk, "title": "Pay", "is_gone": True}
        assert person.post(f"{INBOX}{deleted['id']}/read/").status_code == 200
    demote(dora)
    assert messages(dora) == []


def test_a_former_assignee_is_not_notified_of_the_deletion(ada, alice, bob, task):
    change(task, by=ada, assigned_to_id=bob.id)
    before = items(alice)

    delete_task(task, by=ada)

    assert items(alice) == before
    assert [item["task"]["is_gone"] for item in before] == [True]


def test_pages_skip_hidden_entries(ada, alice, bob, create_task):
    tasks = [create_task(title=f"Number {number}", assigned_to=alice.id) for number in range(6)]
    for task in tasks:
        change(task, by=ada, status="completed")
    for task in tasks[::2]:
        change(task, by=ada, assigned_to_id=bob.id)

    first = alice.get(f"{INBOX}?page_size=2").json()
    second = alice.get(first["next"]).json()
    third = alice.get(second["next"]).json()

    met = [(item["kind"], item["task"]["title"]) for page in (first, second, third) for item in page["results"]]
    lost = [("task_unassigned", f"Number {number}") for number in (4, 2, 0)]
    assert met == lost + [("task_status_changed", f"Number {number}") for number in (5, 3, 1)]
    assert third["next"] is None
    assert alice.get(second["previous"]).json()["results"] == first["results"]


# Lost tasks


@pytest.mark.parametrize("assignee", [103, None])
def test_a_former_assignee_learns_only_of_the_loss(ada, alice, bob, task, assignee):
    ada.patch(f"/task/tasks/{task.pk}/", {"assigned_to": assignee, "title": "Fire alice"})
    deliver_all()

    (message,) = [each for each in mail.outbox if each.to == ["alice@tm.example"]]
    assert message.subject == "ada unassigned you from \u2068Pay\u2069"
    assert message.body == f"{message.subject}\n"  # no link: it would be 404
    (item,) = items(alice)
    assert item["by"] == {"id": ada.id, "username": "ada"}
    assert item["task"] == {"id": task.pk, "title": "Pay", "is_gone": True}


def test_actors_are_not_notified(ada, bob, create_task):
    task = create_task(assigned_to=ada.id)

    change(task, by=ada, assigned_to_id=bob.id)
    delete_task(task, by=ada)

    assert messages(ada) == []


def test_a_former_assignee_who_sees_the_task_is_notified_once(ada, bob, dora, create_task):
    change(create_task(assigned_to=dora.id, created_by=dora.id), by=ada, assigned_to_id=bob.id)

    assert messages(dora) == ["ada assigned bob to \u2068Water the plants\u2069"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_inactive_account_is_not_notified_of_a_loss(ada, alice, bob, task, moment):
    if moment == "before":
        deactivate(alice)
    change(task, by=ada, assigned_to_id=bob.id)
    if moment == "after":
        deactivate(alice)

    assert mailed() == ["bob", "dora"]


def test_a_demoted_creator_is_not_notified_of_a_deletion(ada, dora, task):
    delete_task(task, by=ada)
    demote(dora)

    assert mailed() == ["alice"]
    assert outcome(recipient_id=dora.id) == ("skipped", "the task was deleted")


# The rule


def test_sending_and_the_inbox_have_the_same_rule(ada, alice, bob, dora, create_task):
    """All kinds of events about kept, reassigned and deleted tasks, to all, including a demoted creator."""
    kept, moved, gone = (create_task(assigned_to=alice.id, created_by=dora.id) for _ in range(3))
    for task in (kept, moved, gone):
        change(task, by=ada, status="completed")
    change(moved, by=ada, assigned_to_id=bob.id)
    delete_task(gone, by=ada)
    demote(dora)

    told_by_mail = set()
    for delivery in Delivery.objects.select_related("event", "recipient"):
        event, task = delivery.event, Task.objects.filter(pk=delivery.event.task_id).first()
        with suppress(Skipped):
            event.check_recipient(delivery.recipient, task)
            told_by_mail.add((event.pk, delivery.recipient_id))
    shown = {
        (item.event_id, person.id)
        for person in (alice, bob, dora)
        for item in Notification.objects.visible_to(User.objects.get(pk=person.id))
    }
    # The inbox keeps entries from before; a mail about a deleted task is skipped.
    before = Notification.objects.get(event__task_id=gone.pk, event__kind="task_status_changed", recipient_id=alice.id)
    assert told_by_mail <= shown
    assert {event for event, _ in shown - told_by_mail} == {before.event_id}


def test_task_and_queryset_have_the_same_visibility(ada, alice, bob, dora, task):
    demote(dora)
    for user in User.objects.all():
        assert task.is_visible_to(user) == Task.objects.visible_to(user).exists() == (user.pk in (ada.id, alice.id))
