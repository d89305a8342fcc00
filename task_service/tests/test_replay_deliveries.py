"""manage.py replay_deliveries: requeue dead letters."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from chassis.testing.permission_table import rows_of_all_tables
from notifications.models import Delivery
from tests.deliveries import advance_time, change, deliver_all, delivery_ids, sent_mails, states

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def channels(settings):
    settings.NOTIFICATION_CHANNELS = ["log", "email"]


def replay(*options):
    """Run the command and return its output lines."""
    output = StringIO()
    call_command("replay_deliveries", *options, stdout=output)
    return output.getvalue().splitlines()


def summary(number):
    return [f"Replayed {number} deliveries that had failed."]


def dead_letter():
    Delivery.objects.filter(state="planned").update(state="failed", reason="554 no", attempts=30)


def test_it_works(ada, task):
    change(task, by=ada, status="in_progress")
    deliver_all()
    change(task, by=ada, status="completed")
    dead_letter()
    advance_time(days=3)

    assert replay() == summary(2)

    assert states() == ["sent", "sent", "planned", "planned"]
    assert all(delivery.give_up_at > timezone.now() for delivery in Delivery.objects.filter(state="planned"))
    deliver_all()
    assert set(states()) == {"sent"}
    assert len(sent_mails()) == 2
    assert replay() == summary(0)


def test_a_dry_run_lists_them_and_replays_nothing(ada, alice, task):
    change(task, by=ada, status="completed")
    dead_letter()
    change(task, by=ada, status="todo")
    line, mail = delivery_ids(state="failed")
    before = rows_of_all_tables()

    assert replay("--dry-run") == [
        f"delivery {line}: task_status_changed of task {task.pk} by log: 554 no",
        f"delivery {mail}: task_status_changed of task {task.pk} by email to user {alice.id}: 554 no",
        "Would replay 2 deliveries that have failed.",
    ]
    assert rows_of_all_tables() == before


def test_dead_letters_can_be_chosen_by_channel_or_task(ada, alice, create_task):
    tasks = [create_task(assigned_to=alice.id) for _ in range(2)]
    for task in tasks:
        change(task, by=ada, status="completed")
    dead_letter()

    assert replay("--channel", "email", "--task", str(tasks[0].pk)) == summary(1)
    assert states(channel="email") == ["planned", "failed"]
    assert replay("--channel", "email") == summary(1)
    assert states(channel="log") == ["failed", "failed"]
    assert replay(f"--task={tasks[1].pk}") == summary(1)
    assert states(channel="log") == ["failed", "planned"]


def test_an_unconfigured_channel_is_refused():
    with pytest.raises(CommandError, match="pigeon"):
        replay("--channel", "pigeon")


def test_an_irrelevant_dead_letter_is_skipped_when_replayed(ada, bob, task):
    change(task, by=ada, status="in_progress")
    dead_letter()
    change(task, by=ada, assigned_to_id=bob.id)

    replay()
    deliver_all()

    assert states(recipient_id=102) == ["skipped", "sent"]
    assert [to for to, _ in sent_mails()] == ["bob", "alice"]


def test_a_replayed_message_is_sent_before_later_ones(ada, task):
    change(task, by=ada, status="in_progress")
    dead_letter()
    change(task, by=ada, status="completed")

    replay()
    deliver_all()

    assert [subject for _, subject in sent_mails()] == [
        "ada changed the status from To Do to In Progress: \u2068Pay\u2069",
        "ada completed \u2068Pay\u2069",
    ]
