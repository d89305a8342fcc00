"""Starts, finds and stops the supervisor."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from stack import orphans, settings
from stack.console import StackError
from stack.state import StateFolder

STOP_SECONDS = 60


def pid_file(state: StateFolder) -> Path:
    return state.run / "supervisord.pid"


def find(state: StateFolder) -> psutil.Process | None:
    """Return the running supervisor of this state folder."""
    try:
        process = psutil.Process(int(pid_file(state).read_text()))
        is_ours = str(state.folder / "supervisord.conf") in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if is_ours and orphans.is_alive(process) else None


def start(state: StateFolder) -> subprocess.Popen[bytes]:
    """Start the supervisor in a new session, so that Ctrl-C reaches only scripts/run."""
    configuration = state.folder / "supervisord.conf"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    output = state.log / "supervisord.out"
    pid_file(state).unlink(missing_ok=True)
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "stack.supervise", "--configuration", str(configuration)],
            cwd=state.folder,
            env=settings.without_secrets() | {"PATH": path},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    while not pid_file(state).is_file():
        if process.poll() is not None:
            raise StackError(f"The supervisor did not start: {output.read_text().strip()}")
        time.sleep(0.02)
    return process


def stop(state: StateFolder) -> bool:
    """Stop the stack and kill its orphans; return whether anything was running."""
    supervisor = find(state)
    if supervisor is not None:
        supervisor.send_signal(signal.SIGTERM)
        if not orphans.wait_until_gone([supervisor], seconds=STOP_SECONDS):
            supervisor.kill()
    return bool(orphans.reap_all(state)) or supervisor is not None


def wait_until_ended(process: subprocess.Popen[bytes]) -> None:
    """Return after a normal stop, such as by scripts/stop; raise StackError if the supervisor failed."""
    if process.wait():
        raise StackError("The supervisor stopped unexpectedly; see log/supervisord.log.")
