"""The one process that keeps all others: starting it, finding it, ending it."""

import os
import signal
import subprocess
import sys
import time

import psutil

from stack import leftovers
from stack.bootstrap import ROOT
from stack.console import Refused
from stack.state import State

STOP_SECONDS = 60


def find(state: State) -> psutil.Process | None:
    """Return the running supervisor of this state folder."""
    file = state.run / "supervisord.pid"
    try:
        process = psutil.Process(int(file.read_text()))
        is_ours = str(state.folder / "supervisord.conf") in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None


def start(state: State) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, so that Ctrl-C reaches only the one who asked for the stack."""
    argv = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(state.folder / "supervisord.conf")]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT}"}
    with (state.log / "supervisord.out").open("w") as output:
        return subprocess.Popen(
            argv, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


def stop(state: State) -> bool:
    """End the stack and whatever it left behind; return whether anything ran."""
    supervisor = find(state)
    if supervisor is not None:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            supervisor.kill()
    return bool(leftovers.reap_all(state)) or supervisor is not None


def wait_until_ended(process: subprocess.Popen[bytes]) -> None:
    """Return when the supervisor ends, or at Ctrl-C, SIGTERM or SIGHUP (KeyboardInterrupt for each)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    while process.poll() is None:
        time.sleep(0.5)
    raise Refused("The supervisor ended unexpectedly; see log/supervisord.log.")
