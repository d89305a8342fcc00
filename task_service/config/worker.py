"""The background jobs of the task service, for run_worker and for RUN_WORKER=inline."""

from chassis.worker.jobs import Job
from directory import feed
from notifications import delivering
from notifications.reminders import remind_from_time_of_day
from tasks import indexing
from tasks.models import IdempotencyRecord

REMIND_EVERY_SECONDS = 60
CLEAN_EVERY_SECONDS = 600


def jobs() -> list[Job]:
    return [
        *feed.jobs(),
        Job("reminders", remind_from_time_of_day, REMIND_EVERY_SECONDS),
        *delivering.jobs(),
        *indexing.jobs(),
        Job("cleaning", IdempotencyRecord.objects.delete_expired, CLEAN_EVERY_SECONDS),
    ]
