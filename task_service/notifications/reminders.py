"""Reminders of tasks that are due soon or overdue, each sent once per due date."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from operator import attrgetter

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.dispatch import Signal
from django.utils import timezone

from chassis.database import lock_table, long_statements
from notifications import wording
from notifications.models import DUE_DATE_MOVED, TASK_COMPLETED, Delivery, DeliveryQuerySet, Event, ReminderRun
from notifications.planning import PlannedEvent, plan_notifications
from tasks.models import Task, TaskQuerySet
from tasks.signals import task_due_soon, task_overdue

BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class Reminder:
    kind: Event.Kind
    tasks: Callable[[], TaskQuerySet]
    is_due: Callable[[Task], bool]
    text: Callable[[Task], str]
    signal: Signal

    def waiting(self) -> TaskQuerySet:
        """Return the tasks without a reminder for their due date."""
        same = Event.objects.filter(kind=self.kind, task_id=OuterRef("pk"), due_date=OuterRef("due_date"))
        return self.tasks().filter(~Exists(same)).order_by("due_date", "pk")

    def skipped(self) -> DeliveryQuerySet:
        """Return reminders that were skipped, since the task was completed or moved, and are due again."""
        same = self.tasks().filter(pk=OuterRef("event__task_id"), due_date=OuterRef("event__due_date"))
        skipped = Delivery.objects.filter(state=Delivery.State.SKIPPED, reason__in=[TASK_COMPLETED, DUE_DATE_MOVED])
        found: DeliveryQuerySet = skipped.filter(Exists(same), event__kind=self.kind)
        return found

    def event_for(self, task: Task) -> PlannedEvent:
        title, due_date = task.title, task.due_date
        event = Event(kind=self.kind, task_id=task.pk, task_title=title, text=self.text(task), due_date=due_date)
        return event, task.viewers_involved


REMINDERS = (
    Reminder(
        Event.Kind.DUE_SOON,
        lambda: Task.objects.due_soon(),
        lambda task: task.is_due_soon,
        wording.due_soon_text,
        task_due_soon,
    ),
    Reminder(
        Event.Kind.OVERDUE,
        lambda: Task.objects.overdue(),
        lambda task: task.is_overdue,
        wording.overdue_text,
        task_overdue,
    ),
)


def remind_from_time_of_day() -> None:
    """Plan every due reminder, unless it is earlier than REMIND_AT in TIME_ZONE.

    Works across clock changes: a skipped hour counts as over, and a repeated hour only delays new reminders.
    """
    if timezone.localtime().time() >= settings.REMIND_AT:
        remind()
    else:
        record_run()


def remind() -> dict[str, int]:
    """Plan every due reminder and return the number by kind, e.g. {"task_due_soon": 3, "task_overdue": 1}.

    Each reminder is planned once, even if this runs concurrently or is killed at any point.
    """
    for reminder in REMINDERS:
        with long_statements():
            reminder.skipped().requeue()
    planned: Counter[str] = Counter({str(reminder.kind): 0 for reminder in REMINDERS})
    while batch := plan_batch():
        planned.update(batch)
    record_run()
    return dict(planned)


def record_run() -> None:
    ReminderRun.objects.update_or_create(pk=1, defaults={"finished_at": timezone.now()})


def plan_batch() -> Counter[str]:
    """Plan up to BATCH_SIZE reminders of each kind, one mail per recipient, and count them by kind."""
    with long_statements():
        lock_table(ReminderRun)  # one run at a time
        waiting = [task for reminder in REMINDERS for task in reminder.waiting().with_accounts()[:BATCH_SIZE]]
        events = plan_notifications(due_events(waiting))
        announce(events, waiting)
    return Counter(event.kind for event in events)


def due_events(tasks: Iterable[Task]) -> list[PlannedEvent]:
    """Return the reminders of those tasks that are due, including already planned ones. Needs with_accounts()."""
    by_pk = sorted(tasks, key=attrgetter("pk"))
    return [reminder.event_for(task) for reminder in REMINDERS for task in by_pk if reminder.is_due(task)]


def announce(events: Collection[Event], tasks: Iterable[Task]) -> None:
    by_pk = {task.pk: task for task in tasks}
    for reminder in REMINDERS:
        found = [by_pk[event.task_id] for event in events if event.kind == reminder.kind]
        if found:
            reminder.signal.send(Reminder, tasks=found)
