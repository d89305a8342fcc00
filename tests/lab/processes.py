"""Faults of service and gateway processes, and of the log disk."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, takewhile

import psutil

from stack import supervision
from stack.console import StackError
from tests.lab.trial import Trial

WEB = ("user-service", "task-service")
RESTARTS = 10
REQUESTS_EACH = 1000  # in the long form
SECONDS_EACH = 2.5
RELOADED_EVERY_SECONDS = 0.3
ROTATED_BYTES = 10 * 1024 * 1024  # the size at which the supervisor rotates a log
LEFT_BYTES = 5000
LOGGED_WITHIN_SECONDS = 5


def rolling_restart(trial: Trial) -> str:
    """Restart both services repeatedly, in the long form spread over many requests."""
    restarts = RESTARTS if trial.is_long else max(1, round(trial.seconds / SECONDS_EACH))
    for number in range(restarts):
        trial.scene.restart()
        while trial.is_long and len(trial.load.sent) < REQUESTS_EACH * (number + 1):
            time.sleep(0.1)
    return f"{restarts} restarts"


def kill_web(trial: Trial) -> str:
    """Kill every web process, one after another: first the workers, then their masters."""
    kills = 0
    for program in WEB:
        leader = trial.scene.leader(program)
        for victim in [*leader.children(), leader]:
            trial.load.wait_until_served()
            time.sleep(trial.rng.uniform(0, 0.3))
            with trial.load.fault():
                trial.scene.end(victim)
            kills += 1
    return f"{kills} kills"


def reload_gateway(trial: Trial) -> str:
    gateway = trial.scene.leader("gateway")
    until = time.monotonic() + trial.seconds
    reloads = 0
    while time.monotonic() < until:
        gateway.send_signal(signal.SIGHUP)
        reloads += 1
        time.sleep(RELOADED_EVERY_SECONDS)
    return f"{reloads} reloads"


def kill_gateway(trial: Trial) -> str:
    """Kill an Nginx worker; its master starts another."""
    for _ in trial.rounds():
        victim = trial.rng.choice(trial.scene.leader("gateway").children())
        with trial.load.fault():
            trial.scene.end(victim)
    return f"{trial.count} kills"


def log_full(trial: Trial) -> str:
    """Make all log writes of the supervisor fail while one log is due for rotation."""
    os.truncate(trial.scene.state.log / "gateway.log", ROTATED_BYTES - LEFT_BYTES)
    with full_log_disk(trial):
        until = time.monotonic() + trial.seconds
        for number in takewhile(lambda _: time.monotonic() < until, count()):  # the services log each failure
            body = {"username": f"nobody-{number}", "password": "a wrong guess at it"}
            answer = trial.prober.ask("POST", "/token/", body)
            trial.expect(answer.status == 401, f"a wrong password got {answer.status} {answer.code}")
            time.sleep(0.05)
    trial.expect(is_logged_again(trial), "nothing is logged after the disk has space again")
    return f"no log could be written for {trial.seconds:.0f} s"


@contextmanager
def full_log_disk(trial: Trial) -> Iterator[None]:
    """Make every file write of the supervisor fail, as on a full disk."""
    supervisor = supervision.find(trial.scene.state)
    if supervisor is None:
        raise StackError("There is no supervisor.")
    usual, maximum = supervisor.rlimit(psutil.RLIMIT_FSIZE)
    supervisor.rlimit(psutil.RLIMIT_FSIZE, (0, maximum))
    try:
        yield
    finally:
        is_running = supervision.find(trial.scene.state) is not None
        trial.expect(is_running, "the supervisor died of a failed log write")
        if is_running:
            supervisor.rlimit(psutil.RLIMIT_FSIZE, (usual, maximum))


def is_logged_again(trial: Trial) -> bool:
    """Return whether the gateway logs requests again, in a file below the limit."""
    file = trial.scene.state.log / "gateway.log"
    deadline = time.monotonic() + LOGGED_WITHIN_SECONDS * trial.patience
    for number in takewhile(lambda _: time.monotonic() < deadline, count()):
        request_id = f"{trial.prober.name}-after-{number}"
        trial.prober.ask("GET", "/user/me/", request_id=request_id)
        time.sleep(0.1)
        if file.is_file() and file.stat().st_size < ROTATED_BYTES and request_id in file.read_text(errors="replace"):
            return True
    return False
