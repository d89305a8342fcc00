"""Sending what was planned, if it still makes sense; and the jobs that do it."""

from functools import partial

from django.conf import settings

from chassis.jobs import Job
from chassis.mailing import link, mails_are_held
from chassis.outbox import Skipped, deliver_due
from directory import feed
from directory.models import User
from notifications.channels import Message, channel
from notifications.models import COMPLETED, MOVED, Delivery, Event
from tasks.models import Task


def jobs() -> list[Job]:
    """Return a job for each channel, so that one which is stuck delays no other."""
    by_channel = [Job(f"deliver {name}", partial(deliver, name), 2) for name in settings.NOTIFICATION_CHANNELS]
    return [*by_channel, Job("withdraw", withdraw_from_unset_channels, every_seconds=60)]


def withdraw_from_unset_channels() -> None:
    """Skip what was planned for a channel that is not set any more: nobody would ever send it."""
    unset = Delivery.objects.filter(state=Delivery.State.PLANNED).exclude(channel__in=settings.NOTIFICATION_CHANNELS)
    reason = "the channel is not set any more"
    unset.update(state=Delivery.State.SKIPPED, reason=reason, lease_token=None, leased_until=None)


def deliver(channel_name: str) -> int:
    if channel_name == "email" and mails_are_held():
        return 0
    return deliver_due(Delivery.objects.filter(channel=channel_name), send)


def send(delivery: Delivery) -> None:
    feed.pull_if_stale()  # the recipient may have lost rights since
    event = delivery.event
    task = Task.objects.filter(pk=event.task_id).first()
    refuse_senseless(event, task)
    recipient = None
    if delivery.recipient_id is not None:
        recipient = User.objects.filter(pk=delivery.recipient_id).first()
        check_recipient(recipient, task)
    message = Message(
        id=delivery.pk,
        event=event,
        recipient=recipient,
        url=link(f"/task/tasks/{event.task_id}/"),
    )
    channel(delivery.channel).send(message)


def refuse_senseless(event: Event, task: Task | None) -> None:
    """A reminder is for a task that is still open and due on that day. What happened has happened."""
    if not event.is_reminder:
        return
    if task is None:
        raise Skipped("the task was deleted")
    if task.status == Task.Status.COMPLETED:
        raise Skipped(COMPLETED)
    if task.due_date != event.due_date:
        raise Skipped(MOVED)


def check_recipient(recipient: User | None, task: Task | None) -> None:
    if task is None:
        raise Skipped("the task was deleted")
    if recipient is None or not recipient.is_active:
        raise Skipped("the account is not active any more")
    if recipient.pk not in (task.assigned_to_id, task.created_by):
        raise Skipped("the task was reassigned")
    if not task.is_visible_to(recipient):
        raise Skipped("the account may not see the task any more")
