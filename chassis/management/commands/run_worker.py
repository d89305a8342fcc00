import logging
import signal
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chassis import database
from chassis.ops import checks
from chassis.worker.jobs import all_jobs, run_jobs, run_once

DATABASE_POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Run this service's background jobs until SIGTERM or Ctrl-C."
    requires_system_checks: list[str] = []  # they load all views, which jobs do not need; migrate runs them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="run each job once, then exit; status 1 if one failed")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            if failed := run_once(all_jobs()):
                raise CommandError(f"These jobs failed; see the log: {', '.join(failed)}.")
            return
        database.limit_waits(seconds=database.STATEMENT_SECONDS)
        stop = Event()
        stop_on_signals(stop)
        wait_for_database(stop)
        run_jobs(all_jobs(), stop)


def stop_on_signals(stop: Event) -> None:
    """Set the event on SIGTERM and Ctrl-C. Call this in the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def wait_for_database(stop: Event) -> None:
    """Wait until the database is migrated: a job that starts earlier fails and then pauses longer."""
    logged = ""
    while not stop.is_set() and (problem := checks.examine_database()[0]):
        if problem != logged:
            log.warning("waiting for the database: %s", problem)
        logged = problem
        stop.wait(DATABASE_POLL_SECONDS)
