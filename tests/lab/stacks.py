"""A stack for one run of the lab, in a temporary folder."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.console import StackError, exit_on_error, say, step
from stack.ports import free_ports
from stack.run import END_SIGNALS
from stack.settings import LIMITS
from stack.state import StateFolder

LOG_SHOWN = 4000  # characters


@contextmanager
def lab_command(name: str) -> Iterator[None]:
    """Like console.exit_on_error, but stop the stack on signals."""
    for number in END_SIGNALS:
        signal.signal(number, interrupt)
    with exit_on_error(name, OSError):
        yield


def interrupt(*_: object) -> None:
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """Do not let a signal interrupt stopping the stack."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def running_stack(**chosen: str) -> Iterator[tuple[StateFolder, int]]:
    """Run a stack with only these settings; yield its state and gateway port."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="tmservice-lab-") as folder:
        Path(folder).chmod(0o711)
        state = StateFolder(Path(folder))
        try:
            with step("Starting a stack"):
                script(state, port, "run", "--detach", **chosen)
            yield state, port
        except StackError:
            show_logs(state)
            raise
        finally:
            ignore_signals()
            script(state, port, "stop", **chosen)


def script(state: StateFolder, port: int, name: str, *arguments: str, **chosen: str) -> None:
    """Run scripts/NAME. If this process is interrupted, let the script clean up."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG")
    inherited = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    own = {"TMSERVICE_ENV_FILE": os.devnull, "TMSERVICE_STATE_DIR": str(state.folder), "GATEWAY_PORT": str(port)}
    output = state.folder / f"{name}.out"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stack.{name}", *arguments],
            env=inherited | own | dict.fromkeys(LIMITS, "off") | chosen,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            process.wait()
        finally:
            process.terminate()
            process.wait()
    if process.returncode:
        raise StackError(f"scripts/{name} failed: {output.read_text()}")


def show_logs(state: StateFolder) -> None:
    """Print the ends of logs that are removed with the folder."""
    for file in (state.log / f"{name}.log" for name in ("task-service", "task-worker")):
        if file.is_file():
            say(f"\n{file.name} ends with:\n{file.read_text(errors='replace')[-LOG_SHOWN:]}")
