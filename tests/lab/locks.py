"""Faults: transactions that lock rows of requests."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from tests.lab.client import Answer
from tests.lab.scene import POLL_SECONDS, RECOVERY_SECONDS
from tests.lab.trial import Trial

REFUSED_WITHIN_SECONDS = 3.5
MAX_IDLE_SECONDS = 60  # maximum idle_in_transaction_session_timeout
SHORT_IDLE = "4s"
REFUSED = (409, 503)
BULK = "/task/tasks/bulk/"
LOCK = "SELECT id FROM task_service.tasks_task WHERE id = %s FOR UPDATE"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
IDLE = "idle_in_transaction_session_timeout"
SET_IDLE = f"ALTER ROLE task_service IN DATABASE tmservice SET {IDLE} = {{}}"
SERVICE_SETTINGS = """
    SELECT setting.setconfig FROM pg_db_role_setting AS setting
    JOIN pg_roles ON pg_roles.oid = setrole JOIN pg_database ON pg_database.oid = setdatabase
    WHERE rolname = 'task_service' AND datname = 'tmservice'
"""


def deadlock(trial: Trial) -> str:
    """Lock two tasks in the opposite order of a bulk change, which must lose the deadlock."""
    statuses = set()
    for _ in trial.rounds():
        first, second = (create_task(trial) for _ in range(2))
        bulk = {"ids": [second, first], "set": {"status": "completed"}}
        with ThreadPoolExecutor(1) as pool, closing(psycopg2.connect(trial.scene.owner_url())) as connection:
            cursor = connection.cursor()
            cursor.execute("SET deadlock_timeout = '20s'")  # the other session detects the deadlock first
            cursor.execute(LOCK, [second])
            answering = pool.submit(trial.prober.ask, "POST", BULK, bulk)
            wait_until_blocked(trial, answering, by=connection.info.backend_pid)
            cursor.execute(LOCK, [first])
            connection.commit()
        answer = answering.result()
        statuses.add(str(answer.status))
        if not answer.ok:
            expect_refusal(trial, answer, f"a bulk change of tasks {first} and {second} in a deadlock")
        trial.expect_success(trial.prober.ask("POST", BULK, bulk), "the repeated bulk change")
    mix_lock_orders(trial)
    return f"{trial.count} deadlocks, answered {', '.join(sorted(statuses))}"


def mix_lock_orders(trial: Trial) -> None:
    """Send concurrent requests that name the same tasks in opposite orders."""
    tasks = [create_task(trial) for _ in range(10)]
    orders = [tasks, tasks[::-1]] * 10
    with ThreadPoolExecutor(4) as pool:
        bodies = ({"ids": order, "set": {"description": f"{number}"}} for number, order in enumerate(orders))
        for answer in pool.map(lambda body: trial.prober.ask("POST", BULK, body), bodies):
            trial.expect_success(answer, "a bulk change concurrent with one in the opposite order")


def row_held(trial: Trial) -> str:
    """Lock a task in an idle transaction, as a hanging service does."""
    path, change = f"/task/tasks/{create_task(trial)}/", {"status": "completed"}
    with short_idle_limit(trial), closing(psycopg2.connect(trial.scene.role_url("task_service"))) as connection:
        cursor = connection.cursor()
        cursor.execute(LOCK, [path.split("/")[3]])
        held_at = time.monotonic()
        refused = trial.prober.ask("PATCH", path, change)
        took = time.monotonic() - held_at
        expect_refusal(trial, refused, f"PATCH {path} of a held row")
        trial.expect(took <= REFUSED_WITHIN_SECONDS * trial.patience, f"PATCH {path} of a held row took {took:.1f} s")
        trial.expect_success(trial.prober.ask("GET", path), f"GET {path} of a held row")
        seconds = seconds_until_changed(trial, path, change, since=held_at)
        trial.expect(has_ended(cursor), "the idle transaction was not ended by the server")
    return f"PATCH got {refused.status} after {took:.1f} s, possible again after {seconds:.1f} s"


def create_task(trial: Trial) -> int:
    return int(trial.prober.retry_until_ok("POST", "/task/tasks/", {"title": "To be held"})["id"])


def wait_until_blocked(trial: Trial, answering: "Future[Answer]", *, by: int) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while not answering.done() and time.monotonic() < deadline:
        if trial.scene.execute(WAITING, by)[0][0]:
            break
        time.sleep(POLL_SECONDS)


def expect_refusal(trial: Trial, answer: Answer, what: str) -> None:
    trial.expect(answer.status in REFUSED, f"{what} got {answer.status} {answer.code}")
    trial.expect(answer.retry_after.isdecimal(), f"{what} got {answer.status} {answer.code} without Retry-After")


@contextmanager
def short_idle_limit(trial: Trial) -> Iterator[None]:
    """Check that there is a limit, and set a shorter one."""
    settings = [entry.partition("=") for (entries,) in trial.scene.execute(SERVICE_SETTINGS) for entry in entries]
    limits = [value for name, _, value in settings if name == IDLE]
    with closing(psycopg2.connect(trial.scene.role_url("task_service"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT setting::int / 1000 FROM pg_settings WHERE name = %s", [IDLE])
        ((seconds,),) = cursor.fetchall()
    is_limited = 0 < seconds <= MAX_IDLE_SECONDS
    trial.expect(is_limited, f"the server lets an idle transaction of task_service hold rows for {seconds} s (0: ever)")
    trial.scene.execute(SET_IDLE.format(f"'{SHORT_IDLE}'"))
    try:
        yield
    finally:
        trial.scene.execute(SET_IDLE.format(f"'{limits[0]}'" if limits else "DEFAULT"))


def seconds_until_changed(trial: Trial, path: str, change: dict[str, Any], *, since: float) -> float:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while not (answer := trial.prober.ask("PATCH", path, change)).ok and time.monotonic() < deadline:
        expect_refusal(trial, answer, f"PATCH {path} of a held row")
        time.sleep(POLL_SECONDS)
    trial.expect_success(answer, f"PATCH {path} after {RECOVERY_SECONDS} s")
    return time.monotonic() - since


def has_ended(cursor: Any) -> bool:
    try:
        cursor.execute("SELECT 1")
    except psycopg2.Error:
        return True
    return False
