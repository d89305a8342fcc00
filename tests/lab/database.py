"""Faults of the database: it restarts, dies, is silent, slow or full."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg2

from tests.lab.proxy import Toxic
from tests.lab.scene import BACK_WITHIN_SECONDS, LOOK_SECONDS, Scene
from tests.lab.trial import Trial

SILENT_SECONDS = 10  # longer than any answer may take: who only waits for its end is found out
SLOW_SECONDS = 6
FULL_SECONDS = 3
ROLES = ("user_service", "task_service")
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE usename IN ('user_service', 'task_service')"
END_BACKENDS = BACKENDS.replace("pid", "pg_terminate_backend(pid)")


def restart(trial: Trial) -> str:
    for _ in trial.rounds():
        with trial.load.fault():
            restart_at_once(trial.scene)
    return f"{trial.count} restarts"


def restart_at_once(scene: Scene) -> None:
    """Like pg_ctl restart -m immediate: nothing is written down first, so that the next start has to recover."""
    scene.end(scene.leader("postgres"), signal.SIGQUIT)
    scene.wait_for_database()


def kill(trial: Trial) -> str:
    """Kill one backend, upon which the postmaster ends all others, or the postmaster, whom the supervisor replaces."""
    for _ in trial.rounds(at_least=2):
        with trial.load.fault():
            victim = backend_of_a_service(trial) if trial.count % 2 else trial.scene.leader("postgres")
            began = began_at(trial.scene)
            trial.scene.end(victim)
            wait_until_begun_after(trial.scene, began)
    return f"{trial.count} kills"


def backend_of_a_service(trial: Trial) -> psutil.Process:
    while True:
        ((pid,),) = trial.chance.sample(trial.scene.execute(BACKENDS), 1)
        with suppress(psutil.NoSuchProcess):  # its connection was closed just now
            return psutil.Process(pid)


def began_at(scene: Scene) -> float:
    """Return when the server's present processes began: after a crash they are others, the postmaster apart."""
    ((pid,),) = scene.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    return float(psutil.Process(pid).create_time())


def wait_until_begun_after(scene: Scene, began: float) -> None:
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    scene.wait_for_database()
    while time.monotonic() < deadline:
        try:
            if began_at(scene) > began:
                return
        except (psutil.NoSuchProcess, psycopg2.OperationalError, ValueError):  # it ends just now
            time.sleep(LOOK_SECONDS)
        scene.wait_for_database()


def failover(trial: Trial) -> str:
    """Restart it while nobody asks anything: all connections are stale, and nobody shall notice."""
    for _ in trial.rounds():
        with trial.load.paused():
            restart_at_once(trial.scene)
    trial.load.wait_until_served()
    return f"{trial.count} restarts while idle"


def silent(trial: Trial) -> str:
    with trial.load.fault(), toxic(trial.scene, Toxic.SILENT):
        time.sleep(SILENT_SECONDS)
    return f"silent for {SILENT_SECONDS} s"


def slow(trial: Trial) -> str:
    seconds = max(SLOW_SECONDS, trial.seconds)
    with trial.load.fault(), toxic(trial.scene, Toxic.LATENCY):
        time.sleep(seconds)
    return f"500 ms a round trip for {seconds:.0f} s"


@contextmanager
def toxic(scene: Scene, kind: Toxic) -> Iterator[None]:
    if scene.proxy is None:
        raise RuntimeError("the database is not behind a proxy")
    scene.proxy.become(kind)
    try:
        yield
    finally:
        scene.proxy.become(Toxic.PASS)


def full(trial: Trial) -> str:
    """Leave each service one connection, which its processes then contend for."""
    with trial.load.fault():
        limit_connections(trial.scene, 1)
        trial.scene.execute(END_BACKENDS)
        time.sleep(FULL_SECONDS)
        limit_connections(trial.scene, -1)
    return f"one connection each for {FULL_SECONDS} s"


def limit_connections(scene: Scene, most: int) -> None:
    for role in ROLES:
        scene.execute(f"ALTER ROLE {role} CONNECTION LIMIT {most}")
