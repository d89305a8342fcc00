"""What runs beside the requests: jobs, each again and again in a thread of its own, so that none delays another."""

import logging
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self
from uuid import uuid4

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections, connections

from chassis import database, request_id
from chassis.models import Heartbeat, Window
from chassis.ops import env, health

MAX_PAUSE_SECONDS = 60
DATABASE_LOOK_SECONDS = 0.5
GRACE_SECONDS = 8  # Docker and supervisor kill what has not ended after 10

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """`run` does some work and returns whether there is more; if not, it has its next turn after `every_seconds`."""

    name: str
    run: Callable[[], object]
    every_seconds: float


class Outcome(Enum):
    DONE = auto()
    MORE = auto()
    FAILED = auto()


class Contained:
    """A block whose exception is logged with its traceback, kept in `error`, and goes no further.

    SystemExit included: in a thread it would end a job for good, without a word. A Ctrl-C passes.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if isinstance(error, (Exception, SystemExit)):
            self.error = error
            log.error("job %s failed", self.name, exc_info=error)
        return self.error is not None


def run_jobs(jobs: Sequence[Job], stop: Event, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """Run the jobs until `stop` is set and each has finished what it was doing, or `grace_seconds` are over."""
    threads = [Thread(target=keep_running, args=(job, stop), name=job.name, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    wait_until_set(stop)
    deadline = time.monotonic() + grace_seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        if thread.is_alive():
            log.warning("job %s did not finish in time and is left behind", thread.name)


def wait_until_set(stop: Event) -> None:
    # Not by stop.wait() in this thread: a signal whose handler sets the event would wait for the lock that the
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
    """Run a job once, under a request id of its own and with no database connection that is broken or too old."""
    request_id.current.set(uuid4().hex)
    close_old_connections()
    more = False
    with Contained(job.name) as contained:
        more = bool(job.run())
    if contained.error:
        return Outcome.FAILED
    return Outcome.MORE if more else Outcome.DONE


def pause_seconds(every_seconds: float, failures: int) -> float:
    """Return the pause before the next turn: it doubles with each failure in a row, up to a minute."""
    grown = every_seconds * 2 ** min(failures, 20)
    return max(every_seconds, min(grown, MAX_PAUSE_SECONDS))


def run_once(jobs: Sequence[Job]) -> list[str]:
    """Give each job one turn, which lasts as long as it has more to do, and return the names of those that failed."""
    return [job.name for job in jobs if last_outcome(job) is Outcome.FAILED]


def last_outcome(job: Job) -> Outcome:
    outcome = Outcome.MORE
    while outcome is Outcome.MORE:
        outcome = run(job)
    return outcome


def jobs_of_this_service() -> Sequence[Job]:
    """Return what `manage.py run_worker` runs."""
    command: Any = load_command_class(get_commands()["run_worker"], "run_worker")
    jobs: Sequence[Job] = command.all_jobs()
    return jobs


def wait_for_database(stop: Event) -> None:
    """Wait until the schema is as the jobs need it: started before that, each would fail and pause for longer."""
    told = None
    while not stop.is_set() and (refusal := health.ask_database().refusal):
        if refusal != told:
            log.warning("waiting for the database: %s", refusal)
        told = refusal
        stop.wait(DATABASE_LOOK_SECONDS)


def common_jobs() -> Sequence[Job]:
    return [
        Job("heartbeat", beat, every_seconds=10),
        Job("limits", forget_ended_windows, every_seconds=60),
    ]


def beat() -> None:
    """Say that the worker can work: in the database, and by the age of a file where one is set."""
    Heartbeat.objects.beat()
    if file := env.text("HEARTBEAT_PATH", ""):
        Path(file).touch()


def forget_ended_windows() -> None:
    with database.long_statements():
        Window.objects.ended().delete()


def stop_on_signals(stop: Event) -> None:
    """Let SIGTERM and Ctrl-C set the event. Only the main thread may ask for this."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


class WorkerCommand(BaseCommand, ABC):
    help = "Run this service's background jobs until SIGTERM or Ctrl-C."

    @abstractmethod
    def jobs(self) -> Sequence[Job]: ...

    def all_jobs(self) -> Sequence[Job]:
        return [*self.jobs(), *common_jobs()]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="give each job one turn, then exit; 1 if one failed")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            if failed := run_once(self.all_jobs()):
                raise CommandError(f"These jobs failed; the log says why: {', '.join(failed)}.")
            return
        database.give_up_after(seconds=database.STATEMENT_SECONDS)
        stop = Event()
        stop_on_signals(stop)
        wait_for_database(stop)
        run_jobs(self.all_jobs(), stop)
