"""The crash test: the task service's processes are killed while tasks change and the mail server fails at random."""

import json
import time
from collections.abc import Iterator

from stack.console import wait_until
from tests.lab.deliveries import Deliveries
from tests.lab.mails import FlakySink
from tests.lab.scene import Scene
from tests.lab.trial import Trial

WORKER, WEB = "task-worker", "task-service"
TURNS = (WORKER, WEB, WEB)  # kill one while the other restarts
KILLS, LONG_KILLS = 3, 50
MASTER_SHARE = 0.2  # of the kills of the web server; the others hit a worker process
RECOVERY_SECONDS = 60
DELIVERED_WITHIN_SECONDS = 600
POLL_SECONDS = 0.3
END_LEASES = "UPDATE task_service.notifications_delivery SET leased_until = now() WHERE leased_until > now()"
END_PAUSES = """
    UPDATE task_service.notifications_delivery SET due_at = now() WHERE state = 'planned' AND due_at > now()
"""
PLANNED = "SELECT count(*) FROM task_service.notifications_delivery WHERE state = 'planned'"


def crash(trial: Trial) -> str:
    """Kill the worker and the web server in turn, each at a random time after it is working again."""
    sink = trial.scene.sink
    if sink is None:
        raise RuntimeError("the stack does not send mails to the sink")
    mails_before = 0
    for _ in trial.rounds(at_least=LONG_KILLS if trial.is_long else KILLS):
        program = TURNS[trial.count % len(TURNS) - 1]
        if program == WORKER:
            wait_for_mail(sink, after=mails_before)
        victim = trial.scene.leader(program)
        if program == WEB and trial.rng.random() > MASTER_SHARE:
            victim = trial.rng.choice(victim.children() or [victim])
        with trial.load.fault():
            trial.scene.end(victim)
        if program == WORKER:
            trial.scene.worker_kills += 1
            mails_before = len(sink.accepted)
            if not trial.is_long:  # all leases belong to the killed worker: the next has not started
                trial.scene.execute(END_LEASES)
    return f"{trial.count} kills"


def wait_for_mail(sink: FlakySink, *, after: int) -> None:
    wait_until(
        lambda: len(sink.accepted) > after,
        seconds=RECOVERY_SECONDS,
        message=f"{WORKER} sent no mail for {RECOVERY_SECONDS} s.",
    )


def await_deliveries(scene: Scene, *, floor: int, is_long: bool) -> Deliveries | None:
    """Wait until no delivery is pending, and return the deliveries for tasks with IDs above `floor`."""
    if scene.sink is None:
        return None
    scene.sink.has_recovered = True  # or the backoff would keep doubling
    deadline = time.monotonic() + DELIVERED_WITHIN_SECONDS
    while scene.execute(PLANNED)[0][0] and time.monotonic() < deadline:
        if not is_long:
            scene.execute(END_PAUSES)
        time.sleep(POLL_SECONDS)
    log = [text for text in log_lines(scene) if not is_of_earlier_task(text, floor)]
    return Deliveries(scene.sink.accepted, log, scene.worker_kills)


def log_lines(scene: Scene) -> Iterator[str]:
    """Yield the lines of the log channel, oldest first; rotated files are named .1, .2 and so on."""
    for file in sorted(scene.state.log.glob("notifications.log*"), reverse=True):
        if file.suffix != ".lock":
            yield from file.read_text().splitlines()


def is_of_earlier_task(text: str, floor: int) -> bool:
    try:
        return bool(json.loads(text)["task"] <= floor)
    except ValueError:  # a broken line: the judge reports it
        return False
