"""The background jobs of the user service, for run_worker and for RUN_WORKER=inline."""

from accounts import mails
from chassis.worker.jobs import Job


def jobs() -> list[Job]:
    return mails.jobs()
