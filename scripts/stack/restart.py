"""scripts/restart: take up new code and new settings without losing a request.

The supervisor holds the sockets of the services: while one of them restarts, requests wait.
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
from stack.state import State, find_state

# The user service first: what is new in it the task service may need.
RESTARTED = ("user-service", "user-worker", "task-service", "task-worker")
GONE_SECONDS = 30
BACK_SECONDS = 60


def main() -> None:
    stopped = "Stopped. What was restarted stays so; run it again for the rest."
    with exit_on_error("restart", env.SettingError, stopped=stopped):
        env.load_dotenv()
        restart(find_state())


def restart(state: State) -> None:
    """Refuse what cannot work before anything is stopped."""
    if supervision.find(state) is None:
        raise StackError("Nothing is running here; scripts/run starts it.")
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
def restart_lock(state: State) -> Iterator[None]:
    with (state.run / "restart.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("This stack is being restarted already.") from error
        yield


def replace(state: State, name: str) -> None:
    """Let a program end what it has begun; the supervisor starts it anew."""
    process = wait_for_process(state, name)
    process.terminate()
    if not orphans.wait_until_gone([process], seconds=GONE_SECONDS):
        process.kill()


def wait_for_process(state: State, name: str) -> psutil.Process:
    otherwise = f"{name} does not run; see log/{name}.log."
    return wait_until(lambda: running(state, name), seconds=BACK_SECONDS, otherwise=otherwise)


def wait_until_back(state: State, ports: Ports, name: str) -> None:
    wait_for_process(state, name)
    if name.endswith("-service"):
        startup.wait_until_reachable(ports, name.removesuffix("-service"))


if __name__ == "__main__":
    main()
