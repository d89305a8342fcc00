"""Digests: one mail about simultaneous events, its content, and that it is sent once."""

import signal
from datetime import timedelta

import pytest
from django.core import mail as post
from django.utils import timezone

from chassis.testing.smtp_sink import END_OF_DATA, HANG, serving
from chassis.worker.mailing import message_id
from directory.models import User
from notifications import delivering
from notifications.models import Delivery, Event, Notification
from notifications.reminders import remind
from tasks.models import Task
from tests.deliveries import (
    advance_time,
    change,
    deliver_all,
    delivery_ids,
    log_entries,
    sent_mails,
    start,
    states,
    use_smtp,
)

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

BULK = "/task/tasks/bulk/"
FIRST, SECOND, THIRD = (f"\u2068{title}\u2069" for title in ("One", "Two", "Three"))


@pytest.fixture(autouse=True)
def channels(settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]
    settings.PUBLIC_URL = "https://tm.test"


@pytest.fixture
def three(create_task, alice):
    return [create_task(title=title, assigned_to=alice.id) for title in ("One", "Two", "Three")]


def complete(tasks, ada):
    answer = ada.post(BULK, {"ids": [task.pk for task in tasks], "set": {"status": "completed"}})
    assert answer.status_code == 200


def message_ids():
    return [mail.message()["Message-ID"] for mail in post.outbox]


def claim_mail():
    (claimed,) = Delivery.objects.filter(channel="email").claim(1, lease_seconds=60)
    return claimed


def test_a_bulk_change_sends_one_mail_per_recipient(ada, alice, three):
    complete(three, ada)
    deliver_all()

    assert sent_mails() == [("alice", f"ada completed {FIRST} and 2 more")]
    (mail,) = post.outbox
    assert mail.body == "\n".join(
        f"ada completed {title}\n\nhttps://tm.test/task/tasks/{task.pk}/\n"
        for title, task in zip((FIRST, SECOND, THIRD), three, strict=True)
    )
    html, _ = mail.alternatives[0]
    assert html.count("<bdi>") == 3
    assert len(log_entries()) == 3
    assert len(alice.get("/task/notifications/").json()["results"]) == 3


def test_the_ledger_of_each_task_shows_its_part(ada, three):
    complete(three, ada)
    deliver_all()

    first, *_ = delivery_ids(channel="email")
    for task in three:
        mail, _ = ada.get(f"/task/tasks/{task.pk}/notifications/").json()["results"]
        assert (mail["channel"], mail["state"], mail["message_id"], mail["attempts"]) == ("email", "sent", first, 1)
    assert message_ids() == [message_id(first, prefix="notification")]


def test_the_changes_of_one_request_are_one_mail(ada, alice, bob, three):
    ada.patch(f"/task/tasks/{three[0].pk}/", {"status": "completed", "assigned_to": bob.id})
    deliver_all()

    to_bob, to_alice = sent_mails()
    assert to_bob == ("bob", f"ada completed {FIRST} and 1 more")
    assert to_alice == ("alice", f"ada unassigned you from {FIRST}")


def test_irrelevant_parts_are_left_out(ada, alice, bob, three):
    complete(three, ada)
    change(three[0], by=ada, assigned_to_id=bob.id)
    deliver_all("email")

    assert ("alice", f"ada completed {SECOND} and 1 more") in sent_mails()
    assert states(event__kind="task_status_changed", channel="email") == ["skipped", "sent", "sent"]


def test_a_mail_without_relevant_parts_is_skipped(ada, alice, three, caplog):
    complete(three, ada)
    User.objects.filter(pk=alice.id).update(is_active=False)
    deliver_all("email")

    assert (post.outbox, caplog.messages) == ([], [])
    assert states(channel="email") == ["skipped"] * 3


def test_a_failed_mail_is_retried_unchanged(ada, alice, three, settings):
    complete(three, ada)
    with serving() as server:
        use_smtp(settings, server.port)
        for answers in ({END_OF_DATA: "451 greylisted"}, {}):
            server.answers = answers
            deliver_all("email")
            advance_time(seconds=11)

    mails = Delivery.objects.filter(channel="email")
    assert set(mails.values_list("state", "attempts")) == {("sent", 2)}
    first = mails.earliest("pk").pk
    assert {message["Message-ID"] for _, _, message in server.received} == {message_id(first, prefix="notification")}


def test_a_part_waits_for_an_earlier_mail_about_its_task(ada, alice, three):
    change(three[2], by=ada, status="in_progress")
    Delivery.objects.update(due_at=timezone.now() + timedelta(minutes=5))
    complete(three, ada)
    deliver_all("email")
    assert sent_mails() == [("alice", f"ada completed {FIRST} and 1 more")]

    advance_time(minutes=5)
    deliver_all("email")

    later = [subject for _, subject in sent_mails()[1:]]
    assert later == [f"ada changed the status from To Do to In Progress: {THIRD}", f"ada completed {THIRD}"]
    assert len(set(message_ids())) == 3


def test_after_a_crash_the_retry_keeps_the_message_id(ada, bob, three):
    complete(three, ada)
    claimed = claim_mail()
    delivering.send_message(claimed)  # and then the worker is killed
    change(three[0], by=ada, assigned_to_id=bob.id)
    Delivery.objects.filter(event__kind__in=["task_assigned", "task_unassigned"]).delete()

    assert delivering.deliver_channel("email") == 0
    advance_time(seconds=61)
    deliver_all("email")

    subjects = [f"ada completed {FIRST} and 2 more", f"ada completed {SECOND} and 1 more"]
    assert sent_mails() == [("alice", subject) for subject in subjects]
    assert message_ids() == [message_id(claimed.pk, prefix="notification")] * 2


def test_a_worker_with_an_expired_lease_changes_nothing(ada, three):
    complete(three, ada)
    slow = claim_mail()
    slow.claim_parts()
    advance_time(seconds=61)
    fast = claim_mail()
    fast.claim_parts()

    assert not slow.mark_sent()
    assert states(channel="email") == ["planned"] * 3
    assert fast.mark_sent()
    assert states(channel="email") == ["sent"] * 3


def test_deliveries_without_a_digest_are_sent_separately(ada, three):
    complete(three, ada)
    Delivery.objects.update(digest=None)
    deliver_all("email")

    assert [subject for _, subject in sent_mails()] == [f"ada completed {title}" for title in (FIRST, SECOND, THIRD)]


# Workers


@COMMITTING
def test_two_workers_send_each_mail_once(ada, alice, bob, create_task, settings, at_once):
    settings.NOTIFICATION_CHANNELS = ["email"]
    for _ in range(5):
        post.outbox.clear()
        tasks = [create_task(assigned_to=person.id) for person in (alice, bob) for _ in range(5)]
        complete(tasks, ada)

        at_once(*[(deliver_all, "email")] * 2)

        assert sorted(to for to, _ in sent_mails()) == ["alice", "bob"]
        assert set(states()) == {"sent"}


@COMMITTING
def test_a_mail_of_a_killed_worker_is_sent_again_by_the_next(ada, three, settings):
    settings.NOTIFICATION_CHANNELS = ["email"]
    complete(three, ada)
    with serving() as server:
        server.answers = {END_OF_DATA: HANG}  # it accepts the mail, but the worker gets no response
        url = f"smtp://127.0.0.1:{server.port}"
        with start("manage.py", "run_worker", EMAIL_URL=url, NOTIFICATION_CHANNELS="email") as worker:
            assert server.hanging.wait(60)
            worker.kill()
        server.answers = {}
        use_smtp(settings, server.port)

        deliver_all()
        assert states() == ["planned"] * 3
        advance_time(seconds=61)
        deliver_all()

    assert worker.returncode == -signal.SIGKILL
    assert states() == ["sent"] * 3
    first, second = [message for _, _, message in server.received]
    assert first["Message-ID"] == second["Message-ID"] == message_id(delivery_ids()[0], prefix="notification")
    assert first["Subject"] == second["Subject"]


# Reminders


def test_the_reminders_of_one_run_are_one_mail(ada, alice, create_task):
    tomorrow, yesterday = (timezone.localdate() + timedelta(days=days) for days in (1, -1))
    for title, due in (("One", tomorrow), ("Two", yesterday)):
        create_task(title=title, assigned_to=alice.id, created_by=alice.id, due_date=due)

    assert remind() == {"task_due_soon": 1, "task_overdue": 1}
    deliver_all("email")

    assert sent_mails() == [("alice", f"Due on {tomorrow}: {FIRST} and 1 more")]


@pytest.mark.parametrize("days", [0, 1, -1])
def test_a_new_task_that_is_due_sends_one_mail(ada, alice, days):
    due = timezone.localdate() + timedelta(days=days)
    ada.post("/task/tasks/", {"title": "One", "assigned_to": alice.id, "due_date": str(due)})
    assert remind() == {"task_due_soon": 0, "task_overdue": 0}
    deliver_all("email")

    assert sorted(to for to, _ in sent_mails()) == ["ada", "alice"]
    (mail,) = [mail for mail in post.outbox if mail.to == ["alice@tm.example"]]
    assert mail.subject == f"ada assigned alice to {FIRST} and 1 more"
    assert str(due) in mail.body
    assert Event.objects.filter(due_date=due).count() == 1


def test_changing_a_hundred_due_tasks_takes_13_statements(ada, alice, grace, django_assert_max_num_queries):
    today = timezone.localdate()
    Task.objects.bulk_create(
        Task(title="Pay", created_by=grace.id, due_date=today - timedelta(days=number % 2)) for number in range(100)
    )
    body = {"set": {"status": "in_progress", "assigned_to": alice.id}}
    body["ids"] = list(Task.objects.values_list("pk", flat=True))

    with django_assert_max_num_queries(13 + 4):  # savepoints and their release are no separate round trips
        assert ada.post(BULK, body).status_code == 200

    assert (Event.objects.count(), Notification.objects.count()) == (300, 600)


@COMMITTING
def test_a_change_during_a_reminder_run_reminds_once(ada, alice, create_task, at_once):
    for _ in range(5):
        task = create_task(due_date="2001-01-01", created_by=alice.id)

        answer, *_ = at_once((ada.patch, f"/task/tasks/{task.pk}/", {"assigned_to": alice.id}), *[(remind,)] * 3)

        assert answer.status_code == 200
        assert Event.objects.filter(task_id=task.pk, kind="task_overdue").count() == 1


def test_a_requeued_reminder_is_a_new_mail(ada, alice, create_task):
    for title in ("One", "Two"):
        create_task(title=title, assigned_to=alice.id, due_date="2001-01-01")
    remind()
    Task.objects.update(status="completed", completed_at=timezone.now())
    deliver_all("email")
    assert sent_mails() == []

    Task.objects.update(status="todo", completed_at=None)
    remind()
    deliver_all("email")

    assert sorted(sent_mails()) == [(to, f"Overdue since 2001-01-01: {FIRST} and 1 more") for to in ("ada", "alice")]
