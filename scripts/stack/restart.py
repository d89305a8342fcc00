"""scripts/restart: apply new code and settings without losing a request.

The supervisor holds the services' sockets: while a service restarts, requests wait.
"""

import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from chassis.ops import env
from stack import orphans, settings, startup, supervision
from stack.console import StackError, exit_on_error, say, step, wait_until
from stack.orphans import running
from stack.ports import Ports, read_ports
from stack.state import StateFolder, find_state

# The user service first: the task service may need its new features.
RESTARTED = ("user-service", "user-worker", "task-service", "task-worker")
GONE_SECONDS = 30
BACK_SECONDS = 60


def main() -> None:
    stopped = "Stopped. Services restarted so far keep running; run it again for the rest."
    with exit_on_error("restart", env.SettingError, stopped=stopped):
        env.load_dotenv()
        restart(find_state())


def restart(state: StateFolder) -> None:
    """Restart the stack; check settings before anything stops."""
    if supervision.find(state) is None:
        raise StackError("No stack is running; scripts/run starts one.")
    with restart_lock(state):
        ports = read_ports(state)
        environments = settings.for_services(state, ports)
        startup.check_settings(environments)
        if settings.needs_postgres():
            startup.provision_embedded(state, port=ports.postgres)
        startup.migrate(state, ports, environments)
        startup.write_programs(state, ports, environments)
        for name in RESTARTED:
            with step(f"Restarting the {name.replace('-', ' ')}"):
                replace(state, name)
                wait_until_back(state, ports, name)
        with step("Reloading the gateway"):
            wait_for_process(state, "gateway").send_signal(signal.SIGHUP)
            startup.wait_until_healthy(ports)
    say("Restarted.")


@contextmanager
def restart_lock(state: StateFolder) -> Iterator[None]:
    with (state.run / "restart.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("This stack is already being restarted.") from error
        yield


def replace(state: StateFolder, name: str) -> None:
    """Let a program finish its work and stop; the supervisor starts it again."""
    process = wait_for_process(state, name)
    process.terminate()
    if not orphans.wait_until_gone([process], seconds=GONE_SECONDS):
        process.kill()


def wait_for_process(state: StateFolder, name: str) -> psutil.Process:
    message = f"{name} is not running; see log/{name}.log."
    return wait_until(lambda: running(state, name), seconds=BACK_SECONDS, message=message)


def wait_until_back(state: StateFolder, ports: Ports, name: str) -> None:
    wait_for_process(state, name)
    if name.endswith("-service"):
        startup.wait_until_reachable(ports, name.removesuffix("-service"))


if __name__ == "__main__":
    main()
