"""Nobody hears of a task that they cannot see: neither by mail, nor in the inbox, nor by a reminder."""

import pytest
from django.core import mail
from django.utils import timezone

from chassis.tests.permission_table import told
from directory.models import User
from directory.person import Person as Account
from notifications.models import Delivery, Notification
from notifications.reminders import remind
from tasks.models import Task
from tests.conftest import Person, known
from tests.deliveries import change, deliver_all, outcome

pytestmark = pytest.mark.django_db

INBOX = "/task/notifications/"
NOT_VISIBLE = ("skipped", "the account may not see the task any more")


@pytest.fixture(autouse=True)
def by_mail(settings):
    settings.NOTIFICATION_CHANNELS = ["email"]


@pytest.fixture
def dora(directory):
    """Has created tasks as an admin, and may be demoted."""
    return known(Person(107, "dora", role="admin"))


@pytest.fixture
def task(a_task, alice, dora):
    return a_task(title="Pay", assigned_to=alice.id, created_by=dora.id)


def demote(person):
    User.objects.filter(pk=person.id).update(role="user")


def promote(person):
    User.objects.filter(pk=person.id).update(role="admin")


def deactivate(person):
    User.objects.filter(pk=person.id).update(is_active=False)


def delete_account(person):
    User.objects.learn([Account.deleted(person.id, 2000)])


def messages(person, query=""):
    answer = person.get(INBOX + query)
    assert answer.status_code == 200, answer.content
    return [item["message"] for item in answer.json()["results"]]


def mailed():
    return sorted(each.to[0] for each in mail.outbox)


def test_a_creator_who_is_an_admin_is_told_of_everything(ada, dora, task):
    change(task, by=ada, status="completed")
    deliver_all()

    assert mailed() == ["alice@tm.example", "dora@tm.example"]
    assert messages(dora) == ['"Pay" is Completed now; it was To Do.']


# Planning


@pytest.mark.parametrize("lose_sight", [demote, deactivate, delete_account])
def test_nothing_is_planned_for_a_creator_who_cannot_see_the_task(ada, alice, dora, task, lose_sight):
    lose_sight(dora)

    change(task, by=ada, status="completed")
    ada.post("/task/tasks/bulk/", {"ids": [task.pk], "set": {"status": "todo", "assigned_to": None}})
    change(task, by=ada, assigned_to_id=alice.id)

    for planned in (Delivery, Notification):
        assert set(planned.objects.values_list("recipient_id", flat=True)) == {alice.id}


@pytest.mark.parametrize("due_date", ["2001-01-01", "today"])
def test_a_demoted_creator_gets_no_reminder(alice, dora, a_task, due_date):
    demote(dora)
    due = timezone.localdate() if due_date == "today" else due_date
    a_task(assigned_to=alice.id, created_by=dora.id, due_date=due)

    remind()
    deliver_all()

    assert mailed() == ["alice@tm.example"]
    assert list(Notification.objects.values_list("recipient_id", flat=True)) == [alice.id]


def test_a_demoted_creator_who_is_the_assignee_is_told(ada, dora, task):
    demote(dora)

    ada.patch(f"/task/tasks/{task.pk}/", {"assigned_to": dora.id})
    deliver_all()

    assert mailed() == ["dora@tm.example"]
    assert messages(dora) == ['"Pay" is assigned to dora now.']


def test_nothing_is_planned_for_an_assignee_who_is_not_active(ada, alice, dora, task):
    deactivate(alice)

    change(task, by=ada, status="completed")

    assert list(Notification.objects.values_list("recipient_id", flat=True)) == [dora.id]


def test_nothing_that_was_missed_comes_later(ada, dora, task):
    demote(dora)
    change(task, by=ada, status="completed")

    promote(dora)
    deliver_all()

    assert mailed() == ["alice@tm.example"]
    assert messages(dora) == []


# Sending


def test_a_mail_planned_before_a_demotion_is_skipped(ada, alice, dora, task):
    change(task, by=ada, status="completed")
    demote(dora)

    deliver_all()

    assert outcome(recipient_id=dora.id) == NOT_VISIBLE
    assert mailed() == ["alice@tm.example"]


def test_a_reminder_planned_before_a_demotion_is_skipped(alice, dora, a_task):
    a_task(assigned_to=alice.id, created_by=dora.id, due_date="2001-01-01")
    remind()
    demote(dora)

    deliver_all()

    assert outcome(recipient_id=dora.id) == NOT_VISIBLE
    assert mailed() == ["alice@tm.example"]


@pytest.mark.parametrize("see_again", [lambda dora, task: promote(dora), lambda dora, task: reassign(task, dora)])
def test_a_skipped_mail_is_not_sent_when_the_task_is_visible_again(ada, dora, a_task, see_again):
    task = a_task(created_by=dora.id, due_date="2001-01-01")
    remind()
    demote(dora)
    deliver_all()

    see_again(dora, task)
    remind()
    deliver_all()

    assert outcome(recipient_id=dora.id) == NOT_VISIBLE
    assert mailed() == []


def reassign(task, person):
    Task.objects.filter(pk=task.pk).update(assigned_to=person.id)


def test_a_dead_letter_that_is_replayed_is_checked_again(ada, dora, a_task):
    change(a_task(created_by=dora.id), by=ada, status="completed")
    Delivery.objects.update(state="failed", reason="450 mailbox busy")
    demote(dora)

    Delivery.objects.replay()
    deliver_all()

    assert outcome() == NOT_VISIBLE


# The inbox


def test_a_demoted_creators_inbox_hides_tasks_of_others(ada, dora, task, a_task):
    own = a_task(title="Call", assigned_to=dora.id)
    for each in (task, own):
        change(each, by=ada, status="completed")

    demote(dora)
    assert messages(dora) == ['"Call" is Completed now; it was To Do.']

    promote(dora)
    assert len(messages(dora)) == 2


def test_a_former_assignees_inbox_hides_the_task_until_it_is_theirs_again(ada, alice, bob, task):
    change(task, by=ada, status="completed")
    expected = ['"Pay" is Completed now; it was To Do.']
    assert messages(alice) == expected

    change(task, by=ada, assigned_to_id=bob.id)
    assert messages(alice) == messages(alice, "?unread=true") == []
    assert messages(bob) == ['"Pay" is assigned to bob now.']

    change(task, by=ada, assigned_to_id=alice.id)
    assert messages(alice) == ['"Pay" is assigned to alice now.', *expected]


def test_what_is_hidden_cannot_be_marked_as_read(ada, alice, bob, task):
    change(task, by=ada, status="completed")
    (item,) = alice.get(INBOX).json()["results"]
    change(task, by=ada, assigned_to_id=bob.id)

    hidden, missing = (alice.post(f"{INBOX}{id_}/read/") for id_ in (item["id"], item["id"] + 1000))

    assert hidden.status_code == 404
    assert told(hidden) == told(missing)
    assert Notification.objects.get(pk=item["id"]).read_at is None


def test_notifications_of_a_deleted_task_are_for_admins(ada, alice, dora, task):
    change(task, by=ada, status="completed")
    (item,) = alice.get(INBOX).json()["results"]

    ada.delete(f"/task/tasks/{task.pk}/")

    assert messages(alice) == []
    assert alice.post(f"{INBOX}{item['id']}/read/").status_code == 404
    (of_dora,) = dora.get(INBOX).json()["results"]
    assert of_dora["task"] == {"id": task.pk, "title": "Pay"}
    assert dora.post(f"{INBOX}{of_dora['id']}/read/").status_code == 200


def test_pages_skip_what_is_hidden(ada, alice, bob, a_task):
    tasks = [a_task(title=f"Number {number}", assigned_to=alice.id) for number in range(6)]
    for task in tasks:
        change(task, by=ada, status="completed")
    for task in tasks[::2]:
        change(task, by=ada, assigned_to_id=bob.id)

    first = alice.get(f"{INBOX}?page_size=2").json()
    second = alice.get(first["next"]).json()

    met = [item["task"]["title"] for page in (first, second) for item in page["results"]]
    assert met == ["Number 5", "Number 3", "Number 1"]
    assert second["next"] is None
    assert alice.get(second["previous"]).json()["results"] == first["results"]


# The rule


def test_a_task_and_a_query_agree_on_who_sees_it(ada, alice, bob, dora, task):
    demote(dora)
    for user in User.objects.all():
        assert task.is_visible_to(user) == Task.objects.visible_to(user).exists() == (user.pk in (ada.id, alice.id))
