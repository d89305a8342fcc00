"""Who is told of an event: written down in the transaction in which it happened."""

from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

from django.conf import settings

from notifications.channels import channel
from notifications.models import Delivery, Event, Notification, ordering_key

PlannedEvent = tuple[Event, set[int]]  # a new event, and the accounts that are told of it


def plan_notifications(planned: Sequence[PlannedEvent]) -> list[Event]:
    """Save events that happened together, each with its inbox items and deliveries; in three statements at most.

    By a channel that is personal, each recipient gets one message about all of them. Reminders that were planned
    before are left out; what is new is returned.
    """
    digest = uuid4()
    events = Event.objects.store([event for event, _ in planned])
    recipients_of = {id(event): recipients for event, recipients in planned}
    notifications: list[Notification] = []
    deliveries: list[Delivery] = []
    for event in events:
        recipients = recipients_of[id(event)]
        notifications += [Notification(event=event, recipient_id=user_id) for user_id in sorted(recipients)]
        deliveries += deliveries_of(event, recipients, digest)
    Notification.objects.bulk_create(notifications)
    Delivery.objects.bulk_create(deliveries)
    return events


def deliveries_of(event: Event, recipients: set[int], digest: UUID) -> Iterator[Delivery]:
    for name in settings.NOTIFICATION_CHANNELS:
        if not channel(name).is_personal:
            if event.kind != Event.Kind.UNASSIGNED:  # there it would repeat who was assigned instead
                yield Delivery(event=event, channel=name, ordering_key=ordering_key(event.task_id, None))
            continue
        for user_id in sorted(recipients):
            key = ordering_key(event.task_id, user_id)
            yield Delivery(event=event, channel=name, recipient_id=user_id, ordering_key=key, digest=digest)
