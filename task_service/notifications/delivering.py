"""Sends pending deliveries that are still relevant; and the jobs that do so."""

from functools import cache, partial

from django.conf import settings

from chassis.worker.jobs import Job
from chassis.worker.mailing import link
from chassis.worker.outbox import Skipped, deliver_due
from directory import feed
from directory.models import User
from notifications.channels import Entry, Message, channel
from notifications.models import DUE_DATE_MOVED, TASK_COMPLETED, Delivery, DeliveryQuerySet, Event
from tasks.models import Task


def jobs() -> list[Job]:
    """Return one job per channel, so that a stuck channel delays no other."""
    by_channel = [Job(f"deliver {name}", partial(deliver_channel, name), 2) for name in settings.NOTIFICATION_CHANNELS]
    return [*by_channel, Job("cancel", cancel_for_unset_channels, every_seconds=60)]


def cancel_for_unset_channels() -> None:
    """Skip pending deliveries of channels that are no longer configured: no job would send them."""
    unset = Delivery.objects.filter(state=Delivery.State.PENDING).exclude(channel__in=settings.NOTIFICATION_CHANNELS)
    reason = "the channel is no longer configured"
    unset.update(state=Delivery.State.SKIPPED, reason=reason, lease_token=None, leased_until=None)


def deliver_channel(channel_name: str) -> int:
    if channel_name == "email" and settings.MAILS_ARE_HELD:
        return 0
    return deliver_due(deliveries(channel_name), send_message)


@cache
def deliveries(channel_name: str) -> DeliveryQuerySet:
    """Return the same object each time, so that its claim is compiled once."""
    found: DeliveryQuerySet = Delivery.objects.filter(channel=channel_name)
    return found


def send_message(delivery: Delivery) -> None:
    """Send a message with all parts that are still relevant; raise Skipped if there are none."""
    if delivery.recipient_id:
        feed.pull_if_stale()  # the recipient may have lost permissions since
    parts = delivery.claim_parts()
    recipient = User.objects.filter(pk=delivery.recipient_id).first() if delivery.recipient_id else None
    # Only a recipient and a reminder depend on what the task is now.
    needed = {part.event.task_id for part in parts if recipient or part.event.is_reminder}
    tasks = Task.objects.in_bulk(needed) if needed else {}
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
        return Entry(event, task_url(event))
    event.check_recipient(recipient, task)
    is_gone = task is None or recipient is None or not task.is_visible_to(recipient)
    return Entry(event, "" if is_gone else task_url(event))


def task_url(event: Event) -> str:
    return link(f"/task/tasks/{event.task_id}/")


def check_still_relevant(event: Event, task: Task | None) -> None:
    """Raise Skipped for a reminder of a task that is no longer open or due on that date."""
    if not event.is_reminder:
        return
    if task is None:
        raise Skipped("the task was deleted")
    if task.status == Task.Status.COMPLETED:
        raise Skipped(TASK_COMPLETED)
    if task.due_date != event.due_date:
        raise Skipped(DUE_DATE_MOVED)
