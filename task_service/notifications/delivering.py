"""Sending what was planned, if it still makes sense; and the jobs that do it."""

from functools import partial

from django.conf import settings

from chassis.worker.jobs import Job
from chassis.worker.mailing import link
from chassis.worker.outbox import Skipped, deliver_due
from directory import feed
from directory.models import User
from notifications.channels import Entry, Message, channel
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
    if channel_name == "email" and settings.MAILS_ARE_HELD:
        return 0
    return deliver_due(Delivery.objects.filter(channel=channel_name), send)


def send(delivery: Delivery) -> None:
    """Send a message with all that goes out in it and still makes sense, or raise Skipped where nothing does."""
    feed.pull_if_stale()  # the recipient may have lost rights since
    parts = delivery.claim_others()
    recipient = User.objects.filter(pk=delivery.recipient_id or 0).first()
    tasks = Task.objects.in_bulk({part.event.task_id for part in parts})
    entries: list[Entry] = []
    skipped: list[tuple[Delivery, str]] = []
    for part in parts:
        try:
            entries.append(entry_for(part, recipient, tasks.get(part.event.task_id)))
        except Skipped as error:
            skipped.append((part, str(error)))
    if not entries:
        delivery.skip_parts(skipped[1:])
        raise Skipped(skipped[0][1])
    delivery.skip_parts(skipped)
    message = Message(id=delivery.find_message_id(), recipient=recipient, entries=tuple(entries))
    channel(delivery.channel).send(message)


def entry_for(delivery: Delivery, recipient: User | None, task: Task | None) -> Entry:
    event = delivery.event
    check_still_relevant(event, task)
    if delivery.recipient_id is None:
        return Entry(event, url_of(event))
    event.check_recipient(recipient, task)
    is_gone = task is None or recipient is None or not task.is_visible_to(recipient)
    return Entry(event, "" if is_gone else url_of(event))


def url_of(event: Event) -> str:
    return link(f"/task/tasks/{event.task_id}/")


def check_still_relevant(event: Event, task: Task | None) -> None:
    """A reminder is for a task that is still open and due on that day. What happened has happened."""
    if not event.is_reminder:
        return
    if task is None:
        raise Skipped("the task was deleted")
    if task.status == Task.Status.COMPLETED:
        raise Skipped(COMPLETED)
    if task.due_date != event.due_date:
        raise Skipped(MOVED)
