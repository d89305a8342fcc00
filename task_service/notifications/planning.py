"""Stores events, inbox entries and deliveries, in the transaction of the change."""

from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

from django.conf import settings

from notifications.channels import channel
from notifications.models import Delivery, Event, Notification, ordering_key

PlannedEvent = tuple[Event, set[int]]  # a new event and the ids of its recipients


def plan_notifications(planned: Sequence[PlannedEvent]) -> list[Event]:
    """Save simultaneous events with their inbox entries and deliveries, in at most three statements.

    Over a personal channel, each recipient gets one message about all of them. Return the new events: a reminder that
    was planned before is skipped.
    """
    digest = uuid4()
    events = Event.objects.store([event for event, _ in planned])
    recipients_by_event = {id(event): recipients for event, recipients in planned}
    notifications: list[Notification] = []
    deliveries: list[Delivery] = []
    for event in events:
        recipients = recipients_by_event[id(event)]
        notifications += [Notification(event=event, recipient_id=user_id) for user_id in sorted(recipients)]
        deliveries += deliveries_for(event, recipients, digest)
    Notification.objects.bulk_create(notifications)
    Delivery.objects.bulk_create(deliveries)
    return events


def deliveries_for(event: Event, recipients: set[int], digest: UUID) -> Iterator[Delivery]:
    for name in settings.NOTIFICATION_CHANNELS:
        if not channel(name).is_personal:
            if event.kind != Event.Kind.UNASSIGNED:  # the event about the new assignee says it
                yield Delivery(event=event, channel=name, ordering_key=ordering_key(event.task_id, None))
            continue
        for user_id in sorted(recipients):
            key = ordering_key(event.task_id, user_id)
            yield Delivery(event=event, channel=name, recipient_id=user_id, ordering_key=key, digest=digest)
