"""Finds and kills orphaned processes.

Workers of a killed Nginx or gunicorn master survive: they hold its port and keep serving. Each program runs in its own
process group, whose ID is recorded before it starts.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from stack.state import StateFolder, write_private

GONE_SECONDS = 5


def record(state: StateFolder, name: str, *, mark: str) -> None:
    """Record this process group as the program `name`; `mark` occurs in its command line or binary."""
    write_private(record_file(state, name), json.dumps({"group": os.getpgrp(), "mark": mark}))


def record_file(state: StateFolder, name: str) -> Path:
    return state.run / f"{name}.json"


def reap(state: StateFolder, name: str) -> int:
    """Kill the orphans of an earlier run of the program, wait for their end, and return their number."""
    if not record_file(state, name).is_file():
        return 0
    left = list(find_orphans(state, **json.loads(record_file(state, name).read_text())))
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until_gone(left, seconds=GONE_SECONDS)
    return len(left)


def end_children(*, seconds: float) -> None:
    """Terminate all children, including one that was just being started when Ctrl-C came.

    The supervisor may be among them; it first stops its programs.
    """
    children = psutil.Process().children()
    for process in children:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    wait_until_gone(children, seconds=seconds)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def wait_until_gone(processes: list[psutil.Process], *, seconds: float) -> bool:
    """Wait for processes, which need not be children; return whether all are gone."""
    deadline = time.monotonic() + seconds
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_alive(process: psutil.Process) -> bool:
    """A zombie counts as gone: it holds no port, and its parent may reap it late."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def running(state: StateFolder, name: str) -> psutil.Process | None:
    """Return the process that the supervisor runs for a program, once it has exec'd the program."""
    with suppress(psutil.Error, ValueError):  # it just ended, or the record is being written
        recorded = json.loads(record_file(state, name).read_text())
        process = psutil.Process(recorded["group"])
        if recorded["mark"] in " ".join(process.cmdline()) and is_alive(process):
            return process
    return None


def reap_all(state: StateFolder) -> int:
    return sum(reap(state, file.stem) for file in state.run.glob("*.json"))


def find_orphans(state: StateFolder, *, group: int, mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            in_group = os.getpgid(process.pid) == group and mark in f"{process.exe()} {' '.join(process.cmdline())}"
            # PostgreSQL's children leave the group but work in the data folder.
            in_folder = process.name() == "postgres" == mark and Path(process.cwd()) == state.postgres
        except (psutil.Error, ProcessLookupError, PermissionError):  # ended meanwhile, or another user's
            continue
        if in_group or in_folder:
            yield process
