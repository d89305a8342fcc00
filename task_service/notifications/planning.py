"""Who is told of an event: written down in the transaction in which it happened."""

from collections.abc import Iterator

from django.conf import settings

from notifications.channels import channel
from notifications.models import Delivery, Event, Notification, order_of
from tasks.models import Task

Told = tuple[Event, Task]  # a new event, and the task as it is now


def tell(told: list[Told]) -> None:
    """Save the events, each with its inbox items and deliveries; in three statements, however many there are."""
    Event.objects.bulk_create([event for event, _ in told])
    notifications: list[Notification] = []
    deliveries: list[Delivery] = []
    for event, task in told:
        recipients = recipients_of(event, task)
        notifications += [Notification(event=event, recipient_id=user_id) for user_id in recipients]
        deliveries += deliveries_of(event, recipients)
    Notification.objects.bulk_create(notifications)
    Delivery.objects.bulk_create(deliveries)


def recipients_of(event: Event, task: Task) -> list[int]:
    """Return the assignee and the creator, as far as they see the task now, but for whoever did it."""
    return sorted(task.viewers_involved - {event.by_id})


def deliveries_of(event: Event, recipients: list[int]) -> Iterator[Delivery]:
    for name in settings.NOTIFICATION_CHANNELS:
        for user_id in recipients if channel(name).is_personal else [None]:
            yield Delivery(
                event=event, channel=name, recipient_id=user_id, ordering_key=order_of(event.task_id, user_id)
            )
