"""Database faults: restart, crash, silence, latency, too many connections."""

import signal
import time
from contextlib import suppress

import psutil
import psycopg2

from stack.console import wait_until
from tests.lab.proxy import Mode
from tests.lab.scene import RECOVERY_SECONDS, Scene
from tests.lab.trial import Trial

SILENT_SECONDS = 10  # longer than any response may take
SLOW_SECONDS = 6
FULL_SECONDS = 3
ROLES = ("user_service", "task_service")
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE usename IN ('user_service', 'task_service')"
END_BACKENDS = BACKENDS.replace("pid", "pg_terminate_backend(pid)")
CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"


def restart(trial: Trial) -> str:
    for _ in trial.rounds():
        with trial.load.fault():
            restart_at_once(trial.scene)
    return f"{trial.count} restarts"


def restart_at_once(scene: Scene) -> None:
    """Like pg_ctl restart -m immediate: without a checkpoint, so that the next start has to recover."""
    scene.end(scene.leader("postgres"), signal.SIGQUIT)
    scene.wait_for_database()


def kill(trial: Trial) -> str:
    """Kill a backend, after which the postmaster ends all others, or the postmaster itself."""
    for _ in trial.rounds(at_least=2):
        with trial.load.fault():
            victim = service_backend(trial) if trial.count % 2 else trial.scene.leader("postgres")
            began = started_at(trial.scene)
            trial.scene.end(victim)
            wait_until_restarted_since(trial.scene, began)
    return f"{trial.count} kills"


def service_backend(trial: Trial) -> psutil.Process:
    while True:
        ((pid,),) = trial.rng.sample(trial.scene.execute(BACKENDS), 1)
        with suppress(psutil.NoSuchProcess):  # its connection was just closed
            return psutil.Process(pid)


def started_at(scene: Scene) -> float:
    """Return the start time of the server's processes: after a crash all but the postmaster are new."""
    ((pid,),) = scene.execute(CHECKPOINTER)
    return float(psutil.Process(pid).create_time())


def wait_until_restarted_since(scene: Scene, began: float) -> None:
    def has_restarted() -> bool:
        scene.wait_for_database()
        with suppress(psutil.NoSuchProcess, psycopg2.OperationalError, ValueError):  # it is just ending
            return started_at(scene) > began
        return False

    wait_until(has_restarted, seconds=RECOVERY_SECONDS, message="The database did not start again.")


def failover(trial: Trial) -> str:
    """Restart it without pending requests: all connections become stale, and no request may fail."""
    for _ in trial.rounds():
        with trial.load.paused():
            restart_at_once(trial.scene)
    trial.load.wait_until_served()
    return f"{trial.count} restarts while idle"


def silent(trial: Trial) -> str:
    degrade(trial, Mode.SILENT, SILENT_SECONDS)
    return f"silent for {SILENT_SECONDS} s"


def slow(trial: Trial) -> str:
    seconds = max(SLOW_SECONDS, trial.seconds)
    degrade(trial, Mode.LATENCY, seconds)
    return f"500 ms a round trip for {seconds:.0f} s"


def degrade(trial: Trial, mode: Mode, seconds: float) -> None:
    if trial.scene.proxy is None:
        raise RuntimeError("the database is not behind a proxy")
    with trial.load.fault():
        trial.scene.proxy.mode = mode
        time.sleep(seconds)
        trial.scene.proxy.mode = Mode.PASS


def full(trial: Trial) -> str:
    """Limit each service to one connection, for which its processes compete."""
    with trial.load.fault():
        limit_connections(trial.scene, 1)
        trial.scene.execute(END_BACKENDS)
        time.sleep(FULL_SECONDS)
        limit_connections(trial.scene, -1)
    return f"one connection each for {FULL_SECONDS} s"


def limit_connections(scene: Scene, count: int) -> None:
    for role in ROLES:
        scene.execute(f"ALTER ROLE {role} CONNECTION LIMIT {count}")
