"""Runs single programs of the stack without the supervisor, for backup and restore."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from stack import orphans, postgres, programs
from stack.console import StackError, check_output
from stack.ports import free_ports
from stack.programs import Program
from stack.state import StateFolder, write_private

END_SECONDS = 60


@contextmanager
def run_unsupervised(state: StateFolder, program: Program) -> Iterator[None]:
    """Run a program during the block. If this process is killed, the next start of the stack ends the program."""
    identity: dict[str, Any] = postgres.as_nobody() if program.as_nobody else {"stdin": subprocess.DEVNULL}
    identity |= programs.identity(program.uid)
    with ExitStack() as files:
        log = files.enter_context((state.log / f"{program.name}.log").open("a"))
        if program.listen:
            host, port = program.listen.split(":")
            identity["stdin"] = files.enter_context(socket.create_server((host, int(port))))
        process = subprocess.Popen(
            program.argv,
            **identity | {"cwd": program.folder},
            env=program.environment or None,
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    note = {"group": process.pid, "mark": program.mark}
    write_private(orphans.record_file(state, program.name), json.dumps(note))
    try:
        yield
    finally:
        process.send_signal(signal.Signals[f"SIG{program.stop_signal}"])
        process.wait(END_SECONDS)


@contextmanager
def unsupervised_postgres(state: StateFolder) -> Iterator[int]:
    """Run the stack's PostgreSQL and yield its port."""
    (port,) = free_ports(1)
    with run_unsupervised(state, postgres.program(state, port=port)):
        postgres.wait_until_up(postgres.owner_url(state.secrets()["POSTGRES_PASSWORD"], port=port))
        yield port


def require_embedded_postgres() -> None:
    for name in ("USER_DATABASE_URL", "TASK_DATABASE_URL"):
        if os.environ.get(name):
            raise StackError(f"{name} points to an external PostgreSQL; docs/backup.md shows how to back it up.")


def pg_tool(state: StateFolder, name: str, *arguments: str, port: int = 0) -> str:
    """Run a PostgreSQL tool and return its output. With a port, it connects there as the superuser."""
    connection = [f"--dbname=postgresql://{postgres.SUPERUSER}@127.0.0.1:{port}/{postgres.DATABASE}"] if port else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return check_output(
        [str(postgres.binaries() / name), *connection, *arguments],
        message=lambda errors: (errors.strip() or f"{name} failed.").splitlines()[0],
        env=environment | {"PGPASSWORD": state.secrets()["POSTGRES_PASSWORD"]},
    )
