"""Background jobs. Each runs repeatedly in its own thread, so that no job delays another."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

from django.conf import settings
from django.db import close_old_connections, connections
from django.utils.module_loading import import_string

from chassis import database, request_id
from chassis.models import Heartbeat, Window

MAX_PAUSE_SECONDS = 60
GRACE_SECONDS = 8  # Docker and supervisor kill processes after 10

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """`run` does some work and returns whether there is more. If not, it runs again after `every_seconds`."""

    name: str
    run: Callable[[], object]
    every_seconds: float


class Outcome(Enum):
    DONE = auto()
    MORE = auto()
    FAILED = auto()


def run_jobs(jobs: Sequence[Job], stop: Event, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """Run the jobs until `stop` is set. Then wait for their current runs, at most `grace_seconds`."""
    threads = [Thread(target=keep_running, args=(job, stop), name=job.name, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    wait_until_set(stop)
    deadline = time.monotonic() + grace_seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        if thread.is_alive():
            log.warning("job %s did not finish in time and is abandoned", thread.name)


def wait_until_set(stop: Event) -> None:
    # Not stop.wait() in this thread: a signal handler that sets the event would deadlock on the lock that the
    # interrupted wait() holds.
    waiting = Thread(target=stop.wait, daemon=True)
    waiting.start()
    waiting.join()


def keep_running(job: Job, stop: Event) -> None:
    failures = 0
    try:
        while not stop.is_set():
            outcome = run(job)
            failures = failures + 1 if outcome is Outcome.FAILED else 0
            if outcome is not Outcome.MORE:
                stop.wait(pause_seconds(job.every_seconds, failures))
    finally:
        connections.close_all()


def run(job: Job) -> Outcome:
    """Run a job once, with a new request id and without a broken or too old database connection."""
    request_id.current.set(uuid4().hex)
    close_old_connections()
    try:
        return Outcome.MORE if job.run() else Outcome.DONE
    except (Exception, SystemExit):  # a failed run must not end the thread; SystemExit would end it silently
        log.exception("job %s failed", job.name)
        return Outcome.FAILED


def pause_seconds(every_seconds: float, failures: int) -> float:
    """Return the pause before the next run. It doubles with each consecutive failure, up to a minute."""
    grown = every_seconds * 2 ** min(failures, 20)
    return max(every_seconds, min(grown, MAX_PAUSE_SECONDS))


def run_once(jobs: Sequence[Job]) -> list[str]:
    """Run each job until it has no more to do, and return the names of failed jobs."""
    return [job.name for job in jobs if run_to_end(job) is Outcome.FAILED]


def run_to_end(job: Job) -> Outcome:
    outcome = Outcome.MORE
    while outcome is Outcome.MORE:
        outcome = run(job)
    return outcome


def all_jobs() -> list[Job]:
    """Return the jobs of settings.WORKER_JOBS and those of every worker."""
    os.umask(0o077)  # files of mails and notifications are private to this user
    return [*import_string(settings.WORKER_JOBS)(), *common_jobs()]


def common_jobs() -> list[Job]:
    return [
        Job("heartbeat", beat, every_seconds=10),
        Job("limits", delete_ended_windows, every_seconds=60),
    ]


def beat() -> None:
    """Record a heartbeat in the database, and in the modification time of HEARTBEAT_PATH if set."""
    Heartbeat.objects.beat()
    if settings.HEARTBEAT_PATH:
        Path(settings.HEARTBEAT_PATH).touch()


def delete_ended_windows() -> None:
    with database.long_statements():
        Window.objects.ended().delete()
