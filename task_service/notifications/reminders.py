"""Looking for tasks that are due soon or overdue. Each is told of once for each due date."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from notifications import wording
from notifications.models import COMPLETED, MOVED, Delivery, DeliveryQuerySet, Event, ReminderRun
from notifications.planning import tell
from tasks.models import Task, TaskQuerySet

AT_ONCE = 500
# Any number will do, as long as nothing else in this database takes the same advisory lock.
REMINDER_LOCK = 5_118_204


@dataclass(frozen=True, slots=True)
class Reminder:
    kind: Event.Kind
    tasks: Callable[[], TaskQuerySet]
    text: Callable[[Task], str]

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

    def event_of(self, task: Task) -> Event:
        return Event(
            kind=self.kind, task_id=task.pk, task_title=task.title, text=self.text(task), due_date=task.due_date
        )


REMINDERS = (
    Reminder(Event.Kind.DUE_SOON, lambda: Task.objects.due_soon(), wording.of_due_soon),
    Reminder(Event.Kind.OVERDUE, lambda: Task.objects.overdue(), wording.of_overdue),
)


def remind() -> dict[str, int]:
    """Plan every reminder that is due and return how many of each kind, e.g. {"task_due_soon": 3, "task_overdue": 1}.

    However often and many times at once this runs, and wherever it is killed: each reminder is planned once.
    """
    for reminder in REMINDERS:
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
    with transaction.atomic():
        with connection.cursor() as cursor:  # one run at a time looks and writes
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [REMINDER_LOCK])
        tasks = list(reminder.waiting()[:AT_ONCE])
        tell([(reminder.event_of(task), task) for task in tasks])
    return len(tasks)
