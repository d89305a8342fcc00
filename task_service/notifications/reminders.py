"""Looking for tasks that are due soon or overdue. Each is told of once for each due date."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Exists, OuterRef
from django.dispatch import Signal
from django.utils import timezone

from chassis.database import lock_table, long_statements
from notifications.models import COMPLETED, MOVED, Delivery, DeliveryQuerySet, Event, ReminderRun
from tasks.models import Task, TaskQuerySet
from tasks.signals import task_due_soon, task_overdue

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Reminder:
    kind: Event.Kind
    tasks: Callable[[], TaskQuerySet]
    fact: Signal

    def waiting(self) -> TaskQuerySet:
        """Return the tasks that nobody has been reminded of."""
        same = Event.objects.filter(kind=self.kind, task_id=OuterRef("pk"), due_date=OuterRef("due_date"))
        return self.tasks().filter(~Exists(same)).order_by("due_date", "pk")

    def skipped(self) -> DeliveryQuerySet:
        """Return what was not sent because the task was completed or moved, and has become true again."""
        same = self.tasks().filter(pk=OuterRef("event__task_id"), due_date=OuterRef("event__due_date"))
        skipped = Delivery.objects.filter(state=Delivery.State.SKIPPED, reason__in=[COMPLETED, MOVED])
        found: DeliveryQuerySet = skipped.filter(Exists(same), event__kind=self.kind)
        return found


REMINDERS = (
    Reminder(Event.Kind.DUE_SOON, lambda: Task.objects.due_soon(), task_due_soon),
    Reminder(Event.Kind.OVERDUE, lambda: Task.objects.overdue(), task_overdue),
)


def remind() -> dict[str, int]:
    """Plan every reminder that is due and return how many of each kind, e.g. {"task_due_soon": 3, "task_overdue": 1}.

    However often and many times at once this runs, and wherever it is killed: each reminder is planned once.
    """
    for reminder in REMINDERS:
        with long_statements():
            reminder.skipped().plan_again()
    planned = {str(reminder.kind): plan_all(reminder) for reminder in REMINDERS}
    ReminderRun.objects.update_or_create(pk=1, defaults={"finished_at": timezone.now()})
    return planned


def plan_all(reminder: Reminder) -> int:
    total = 0
    while planned := plan_some(reminder):
        total += planned
    return total


def plan_some(reminder: Reminder) -> int:
    with long_statements():
        lock_table(ReminderRun)  # one run at a time looks and writes
        tasks = list(reminder.waiting().with_accounts()[:AT_ONCE])
        if tasks:
            reminder.fact.send(Reminder, tasks=tasks)
    return len(tasks)
