"""The background jobs of the user service, for run_worker and for RUN_WORKER=inline."""

from accounts import jobs as account_jobs
from chassis.worker.jobs import Job


def jobs() -> list[Job]:
    return account_jobs.jobs()
