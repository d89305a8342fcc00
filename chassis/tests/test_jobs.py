import os
import signal
import threading
from functools import partial
from threading import Event, Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from chassis import request_id
from chassis.management.commands import run_worker
from chassis.worker.jobs import Job, pause_seconds, run_jobs

SOON = 0.01
NEVER_AGAIN = 3600
PATIENCE_SECONDS = 30


class Stuck:
    """A job that waits until it is released."""

    def __init__(self):
        self.entered, self.released, self.finished = Event(), Event(), Event()

    def __call__(self):
        self.entered.set()
        self.released.wait(PATIENCE_SECONDS)
        self.finished.set()


class Recorder:
    """Counts its calls. Each raises or returns the next of `results`, then None."""

    def __init__(self, *results):
        self.results, self.calls, self.reached = list(results), 0, threading.Condition()

    def __call__(self):
        with self.reached:
            self.calls += 1
            self.reached.notify_all()
        result = self.results.pop(0) if self.results else None
        if isinstance(result, BaseException):
            raise result
        return result

    def wait_for(self, calls):
        with self.reached:
            assert self.reached.wait_for(lambda: self.calls >= calls, timeout=PATIENCE_SECONDS)


@pytest.fixture
def start():
    """Starts jobs; returns the event that stops them and the thread of `run_jobs`, which ends with the test."""
    started = []

    def start(*jobs, **options):
        stop = Event()
        thread = Thread(target=run_jobs, args=(jobs, stop), kwargs=options)
        thread.start()
        started.append((stop, thread))
        return stop, thread

    yield start
    for stop, thread in started:
        stop.set()
        thread.join(timeout=PATIENCE_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def _signals_restored():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def assert_ends(thread):
    thread.join(timeout=PATIENCE_SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize(("results", "calls"), [([], 1), ([10, True, 1], 4)], ids=["pause", "more to do"])
def test_a_job_pauses_between_runs_unless_there_is_more_to_do(start, results, calls):
    run, other = Recorder(*results), Recorder()

    start(Job("seldom", run, every_seconds=NEVER_AGAIN), Job("often", other, every_seconds=SOON))

    run.wait_for(calls)
    other.wait_for(calls=10)
    assert run.calls == calls


def test_a_stuck_job_does_not_delay_others(start):
    stuck, run = Stuck(), Recorder()

    start(Job("stuck", stuck, every_seconds=SOON), Job("pull", run, every_seconds=SOON))

    assert stuck.entered.wait(PATIENCE_SECONDS)
    run.wait_for(calls=run.calls + 5)
    stuck.released.set()


@pytest.mark.parametrize("error", [ValueError("broken"), OperationalError("gone"), SystemExit(3)])
def test_a_failing_job_is_logged_and_runs_again(start, caplog, error):
    run = Recorder(error)

    start(Job("pull", run, every_seconds=SOON))

    run.wait_for(calls=4)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert (record.levelname, record.getMessage(), record.exc_info[1]) == ("ERROR", "job pull failed", error)


def test_pauses_double_per_failure_and_reset_after_a_success(start, monkeypatch):
    failures = []
    monkeypatch.setattr("chassis.worker.jobs.pause_seconds", lambda every, number: failures.append(number) or every)
    run = Recorder(ValueError(), ValueError(), None, ValueError(), 1, ValueError())

    start(Job("pull", run, every_seconds=SOON))

    run.wait_for(calls=8)
    assert failures[:6] == [1, 2, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("every_seconds", "pauses"),
    [(1, [1, 2, 4, 8, 16, 32, 60, 60]), (0.5, [0.5, 1, 2, 4]), (300, [300, 300, 300])],
)
def test_a_pause_doubles_per_failure_up_to_a_minute(every_seconds, pauses):
    assert [pause_seconds(every_seconds, failures) for failures in range(len(pauses))] == pauses
    assert pause_seconds(every_seconds, 10**9) == max(60, every_seconds)


def test_each_run_has_its_own_request_id(start):
    ids = {"one": [], "two": []}
    runs = {name: Recorder() for name in ids}

    def note(name):
        ids[name].append(request_id.current.get())
        runs[name]()

    start(*(Job(name, partial(note, name), every_seconds=SOON) for name in ids))

    for run in runs.values():
        run.wait_for(calls=3)
    seen = ids["one"][:3] + ids["two"][:3]
    assert len(set(seen)) == 6
    assert all(request_id.VALID.fullmatch(each) for each in seen)


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_is_replaced_before_the_next_run(start):
    answers, run = [], Recorder()

    def ask():
        run()
        with connection.cursor() as cursor:
            if run.calls == 2:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            cursor.execute("SELECT pg_backend_pid()")
            answers.append(cursor.fetchone())

    start(Job("ask", ask, every_seconds=SOON))

    run.wait_for(calls=5)
    first, second, *_ = answers
    assert first != second


@pytest.mark.django_db(transaction=True)
def test_an_ended_job_closes_its_database_connection(start):
    used, run = [], Recorder()

    def ask():
        connection.ensure_connection()
        used.append(connection.connection)
        run()

    stop, thread = start(Job("ask", ask, every_seconds=SOON))
    run.wait_for(calls=2)
    stop.set()
    assert_ends(thread)

    assert used
    assert all(each.closed for each in used)


@pytest.mark.parametrize("results", [[], [True] * 1_000_000], ids=["pausing", "with endless work"])
def test_jobs_stop_at_once_between_runs(start, caplog, results):
    runs = [Recorder(*results), Recorder(*results)]
    stop, thread = start(*(Job("seldom", run, every_seconds=NEVER_AGAIN) for run in runs))
    for run in runs:
        run.wait_for(calls=1)

    stop.set()

    assert_ends(thread)
    assert caplog.messages == []  # it would log abandoned jobs


def test_a_running_job_finishes_its_run(start, caplog):
    work = Stuck()
    stop, thread = start(Job("work", work, every_seconds=SOON), grace_seconds=PATIENCE_SECONDS)
    assert work.entered.wait(PATIENCE_SECONDS)

    stop.set()
    thread.join(timeout=0.1)
    assert thread.is_alive()
    work.released.set()

    assert_ends(thread)
    assert work.finished.is_set()
    assert caplog.messages == []


def test_a_job_is_abandoned_after_the_grace_period(start, caplog):
    work = Stuck()
    stop, thread = start(Job("stuck", work, every_seconds=SOON), grace_seconds=0.05)
    assert work.entered.wait(PATIENCE_SECONDS)
    (stuck,) = [each for each in threading.enumerate() if each.name == "stuck"]

    stop.set()
    assert_ends(thread)

    assert (stuck.is_alive(), stuck.daemon) == (True, True)
    assert caplog.messages == ["job stuck did not finish in time and is abandoned"]
    work.released.set()
    assert_ends(stuck)


def test_a_signal_handler_cannot_deadlock_the_main_thread():
    waiting = []

    class Watched(Event):
        def wait(self, timeout=None):
            waiting.append(threading.current_thread())
            return super().wait(timeout)

    stop = Watched()
    run_jobs([Job("pull", stop.set, every_seconds=SOON)], stop)

    assert waiting
    assert threading.current_thread() not in waiting


@pytest.fixture
def work(monkeypatch):
    """Runs the command with these jobs, without the common ones, which need a database."""
    monkeypatch.setattr("chassis.database.limit_waits", lambda *, seconds: None)
    monkeypatch.setattr(run_worker, "wait_for_database", lambda stop: None)

    def work(*jobs, **options):
        monkeypatch.setattr(run_worker, "all_jobs", lambda: jobs)
        call_command("run_worker", **options)

    return work


@pytest.mark.usefixtures("_signals_restored")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_runs_jobs_until_a_signal_stops_it(work, number):
    run = Recorder()

    def stop_at_the_third_turn():
        run()
        if run.calls == 3:
            os.kill(os.getpid(), number)

    work(Job("work", stop_at_the_third_turn, every_seconds=SOON))

    assert run.calls >= 3


def test_once_runs_each_job_in_order_until_it_has_no_more(work):
    order, more = [], [True, True, False]

    def deliver():
        order.append("deliver")
        return more.pop(0)

    work(Job("pull", partial(order.append, "pull"), 1), Job("deliver", deliver, NEVER_AGAIN), once=True)

    assert order == ["pull", "deliver", "deliver", "deliver"]


def test_once_reports_failed_jobs_after_all_ran(work, caplog):
    last = Recorder()
    broken, also = Job("pull", Recorder(ValueError("x")), every_seconds=1), Job("scan", Recorder(1, OSError()), 1)

    with pytest.raises(CommandError, match=r"These jobs failed; see the log: pull, scan\."):
        work(broken, also, Job("deliver", last, every_seconds=1), once=True)

    assert last.calls == 1
    assert caplog.messages == ["job pull failed", "job scan failed"]


def test_ctrl_c_ends_once(work):
    last = Recorder()

    with pytest.raises(KeyboardInterrupt):
        work(Job("pull", Recorder(KeyboardInterrupt()), 1), Job("deliver", last, 1), once=True)

    assert last.calls == 0
