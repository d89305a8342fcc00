"""Faults by transactions of somebody else's, which hold rows that requests want to change."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from tests.lab.client import Answer
from tests.lab.scene import BACK_WITHIN_SECONDS, LOOK_SECONDS
from tests.lab.trial import Trial

GIVEN_UP_WITHIN_SECONDS = 3.5
LONGEST_IDLE_SECONDS = 60  # that the server shall let a transaction of a service hold what it holds
SHORT_IDLE = "4s"
REFUSED = (409, 503)
LOCK = "SELECT id FROM task_service.tasks_task WHERE id = %s FOR UPDATE"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
SET_IDLE = "ALTER ROLE task_service IN DATABASE tmservice SET idle_in_transaction_session_timeout = {}"
OWN_SETTINGS = """
    SELECT setting.setconfig FROM pg_db_role_setting AS setting
    JOIN pg_roles ON pg_roles.oid = setrole JOIN pg_database ON pg_database.oid = setdatabase
    WHERE rolname = 'task_service' AND datname = 'tmservice'
"""


def deadlock(trial: Trial) -> str:
    """Lock two tasks in the order in which a bulk change does not, which is to be the one that has to give up."""
    answers = []
    for _ in trial.rounds():
        first, second = (make_task(trial) for _ in range(2))
        bulk = {"ids": [second, first], "set": {"status": "completed"}}
        with ThreadPoolExecutor(1) as pool, closing(psycopg2.connect(trial.scene.owner_url())) as connection:
            cursor = connection.cursor()
            cursor.execute("SET deadlock_timeout = '20s'")  # the other side notices first
            cursor.execute(LOCK, [second])
            answering = pool.submit(trial.prober.quietly, "POST", "/task/tasks/bulk/", bulk)
            wait_until_blocked(trial, answering, by=connection.info.backend_pid)
            cursor.execute(LOCK, [first])
            connection.commit()
        answers.append(answering.result())
        judge_refusal(
            trial, answers[-1], f"a bulk change of tasks {first} and {second} in a deadlock", may_succeed=True
        )
        judge_success(trial, trial.prober.quietly("POST", "/task/tasks/bulk/", bulk), "the same once more")
    both_orders(trial)
    statuses = ", ".join(sorted({str(answer.status) for answer in answers}))
    return f"{trial.count} deadlocks, answered {statuses}"


def both_orders(trial: Trial) -> None:
    """Let requests name the same tasks in contrary orders, at the same time."""
    tasks = [make_task(trial) for _ in range(10)]
    orders = [tasks, tasks[::-1]] * 10
    with ThreadPoolExecutor(4) as pool:
        bodies = ({"ids": order, "set": {"description": f"{number}"}} for number, order in enumerate(orders))
        answers = list(pool.map(lambda body: trial.prober.quietly("POST", "/task/tasks/bulk/", body), bodies))
    for answer in answers:
        judge_success(trial, answer, "a bulk change beside one in the contrary order")


def row_held(trial: Trial) -> str:
    """Hold a task in a transaction that does nothing more, as a service does that hangs."""
    check_idle_limit(trial)
    task_id = make_task(trial)
    path, change = f"/task/tasks/{task_id}/", {"status": "completed"}
    with short_idle_limit(trial), closing(psycopg2.connect(trial.scene.url_of("task_service"))) as connection:
        cursor = connection.cursor()
        cursor.execute(LOCK, [task_id])
        held_at = time.monotonic()
        refused = trial.prober.quietly("PATCH", path, change)
        took = time.monotonic() - held_at
        judge_refusal(trial, refused, f"PATCH {path} of a held row")
        trial.expect(took <= GIVEN_UP_WITHIN_SECONDS, f"PATCH {path} of a held row took {took:.1f} s")
        judge_success(trial, trial.prober.quietly("GET", path), f"GET {path} of a held row")
        seconds = seconds_until_changed(trial, path, change, since=held_at)
        is_ended = has_ended(cursor)
    trial.expect(is_ended, "the idle transaction was not ended by the server")
    return f"PATCH got {refused.status} after {took:.1f} s, possible again after {seconds:.1f} s"


def make_task(trial: Trial) -> int:
    return int(trial.prober.insist("POST", "/task/tasks/", {"title": "To be held"})["id"])


def wait_until_blocked(trial: Trial, answering: "Future[Answer]", *, by: int) -> None:
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    while not answering.done() and time.monotonic() < deadline:
        if trial.scene.execute(WAITING, by)[0][0]:
            break
        time.sleep(LOOK_SECONDS)


def judge_refusal(trial: Trial, answer: Answer, what: str, *, may_succeed: bool = False) -> None:
    if answer.ok and may_succeed:
        return
    trial.expect(answer.status in REFUSED, f"{what} got {answer.status} {answer.code}")
    trial.expect(answer.retry_after.isdecimal(), f"{what} got {answer.status} {answer.code} without Retry-After")


def judge_success(trial: Trial, answer: Answer, what: str) -> None:
    trial.expect(answer.ok, f"{what} got {answer.status} {answer.code}")


def check_idle_limit(trial: Trial) -> None:
    with closing(psycopg2.connect(trial.scene.url_of("task_service"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT setting::int / 1000 FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'")
        ((seconds,),) = cursor.fetchall()
    is_limited = 0 < seconds <= LONGEST_IDLE_SECONDS
    trial.expect(is_limited, f"the server lets an idle transaction of task_service hold rows for {seconds} s (0: ever)")


@contextmanager
def short_idle_limit(trial: Trial) -> Iterator[None]:
    before = [entry for (entries,) in trial.scene.execute(OWN_SETTINGS) for entry in entries]
    found = [entry.partition("=")[2] for entry in before if entry.startswith("idle_in_transaction_session_timeout=")]
    trial.scene.execute(SET_IDLE.format(f"'{SHORT_IDLE}'"))
    try:
        yield
    finally:
        trial.scene.execute(SET_IDLE.format(f"'{found[0]}'" if found else "DEFAULT"))


def seconds_until_changed(trial: Trial, path: str, change: dict[str, Any], *, since: float) -> float:
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    while not (answer := trial.prober.quietly("PATCH", path, change)).ok and time.monotonic() < deadline:
        judge_refusal(trial, answer, f"PATCH {path} of a held row")
        time.sleep(LOOK_SECONDS)
    judge_success(trial, answer, f"PATCH {path} after {BACK_WITHIN_SECONDS} s")
    return time.monotonic() - since


def has_ended(cursor: Any) -> bool:
    try:
        cursor.execute("SELECT 1")
    except psycopg2.Error:
        return True
    return False
