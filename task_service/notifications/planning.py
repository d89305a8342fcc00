"""Stores events, inbox entries and deliveries, in the transaction of the change."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection

from chassis import prepared
from chassis.json_rows import as_json, new_columns, values
from notifications.channels import channel
from notifications.models import Delivery, Event, Notification, ordering_key

PlannedEvent = tuple[Event, set[int]]  # a new event and the ids of its recipients

# One statement for any number of events. Skips a reminder that exists already.
STORE = """
    WITH planned AS (SELECT * FROM jsonb_array_elements(%s) WITH ORDINALITY AS planned (value, position)),
    event AS (
        INSERT INTO notifications_event ({event}) SELECT {event}
        FROM planned, jsonb_populate_record(NULL::notifications_event, value)
        ORDER BY position ON CONFLICT DO NOTHING RETURNING id, kind, task_id
    ), stored AS (
        SELECT event.id, value, position FROM event
        JOIN planned ON kind = value ->> 'kind' AND task_id = (value ->> 'task_id')::bigint
    ), notification AS (
        INSERT INTO notifications_notification (event_id, {notification}) SELECT stored.id, {notification}
        FROM stored, jsonb_populate_recordset(NULL::notifications_notification, value -> 'notifications')
        WITH ORDINALITY AS new ORDER BY position, ordinality
    ), delivery AS (
        INSERT INTO notifications_delivery (event_id, {delivery}) SELECT stored.id, {delivery}
        FROM stored, jsonb_populate_recordset(NULL::notifications_delivery, value -> 'deliveries')
        WITH ORDINALITY AS new ORDER BY position, ordinality
    )
    SELECT kind, task_id, id FROM event
"""
STATEMENT = STORE.format(
    event=new_columns(Event),
    notification=new_columns(Notification, but="event_id"),
    delivery=new_columns(Delivery, but="event_id"),
)


def plan_notifications(planned: Sequence[PlannedEvent]) -> list[Event]:
    """Save simultaneous events with their inbox entries and deliveries, at most one event per kind and task.

    Over a personal channel, each recipient gets one message about all of them. Return the new events: a reminder that
    was planned before is skipped. Pass reminders sorted by kind, then task: concurrent transactions with the same ones
    then wait, not deadlock.
    """
    if not planned:
        return []
    digest = uuid4()
    with connection.cursor() as cursor:
        rows = as_json(rows_of(event, recipients, digest) for event, recipients in planned)
        prepared.execute(cursor, STATEMENT, [rows])
        ids = {(kind, task_id): id_ for kind, task_id, id_ in cursor.fetchall()}
    events = [event for event, _ in planned if (event.kind, event.task_id) in ids]
    for event in events:
        event.pk = ids[event.kind, event.task_id]
    return events


def rows_of(event: Event, recipients: set[int], digest: UUID) -> dict[str, Any]:
    """Return the values of an event, of its inbox entries and of its deliveries."""
    notifications = [values(Notification(recipient_id=user_id)) for user_id in sorted(recipients)]
    deliveries = [values(delivery) for delivery in deliveries_for(event, recipients, digest)]
    return {**values(event), "notifications": notifications, "deliveries": deliveries}


def deliveries_for(event: Event, recipients: set[int], digest: UUID) -> Iterator[Delivery]:
    for name in settings.NOTIFICATION_CHANNELS:
        if not channel(name).is_personal:
            if event.kind != Event.Kind.UNASSIGNED:  # the event about the new assignee says it
                yield Delivery(channel=name, ordering_key=ordering_key(event.task_id, None))
            continue
        for user_id in sorted(recipients):
            key = ordering_key(event.task_id, user_id)
            yield Delivery(channel=name, recipient_id=user_id, ordering_key=key, digest=digest)
