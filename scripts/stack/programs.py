"""The programs of the stack and the supervisor's configuration."""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stack.bootstrap import ROOT
from stack.state import StateFolder, write_private

# The services whose requests give way to those of others: logins can be many, and each costs a hash.
NICENESS = {"user_service": 5}
PRIVATE = 0o077  # the umask of a service with a separate user


@dataclass(frozen=True, slots=True)
class Program:
    """One process that the supervisor runs. `mark` identifies its orphans.

    `environment` replaces the supervisor's if it is not empty.
    """

    name: str
    argv: list[str]
    mark: str
    folder: str
    environment: dict[str, str] = field(default_factory=dict)
    as_nobody: bool = False
    uid: int = 0  # user and group ID if root starts the stack; 0: the user who starts it
    stop_signal: str = "TERM"
    niceness: int = 0  # added to the supervisor's
    listen: str = ""  # the supervisor listens there and passes the socket as file descriptor 0


def web(service: str, *, port: int, environment: dict[str, str], uid: int = 0) -> Program:
    argv = [sys.executable, "-m", "gunicorn", "--name", service, "-c", "python:chassis.ops.web_server"]
    return Program(
        name=service.replace("_", "-"),
        argv=[*argv, "--bind", "fd://0", "config.wsgi"],
        mark="chassis.ops.web_server",
        folder=str(ROOT / service),
        environment=environment,
        niceness=NICENESS.get(service, 0),
        listen=f"127.0.0.1:{port}",
        uid=uid,
    )


def worker(service: str, *, environment: dict[str, str], uid: int = 0) -> Program:
    return Program(
        name=f"{service.removesuffix('_service')}-worker",
        argv=[sys.executable, "manage.py", "run_worker"],
        mark="run_worker",
        folder=str(ROOT / service),
        environment=environment,
        uid=uid,
    )


def identity(uid: int) -> dict[str, Any]:
    """Return subprocess arguments for a program that runs as this user."""
    return {"user": uid, "group": uid, "extra_groups": [], "umask": PRIVATE} if uid else {}


def write(state: StateFolder, programs: list[Program]) -> Path:
    """Write the files of the launcher and the supervisor; return the supervisor's configuration."""
    write_private(state.folder / "programs.json", json.dumps([asdict(program) for program in programs], indent=1))
    numbered = enumerate(programs, start=1)  # they start in this order and stop in reverse
    sections = (program_section(number, program) for number, program in numbered)
    file = state.folder / "supervisord.conf"
    write_private(file, "\n".join([supervisor_section(), *sections]))
    return file


def read(state: StateFolder, name: str) -> Program:
    rows = json.loads((state.folder / "programs.json").read_text())
    return next(Program(**row) for row in rows if row["name"] == name)


def supervisor_section() -> str:
    """Paths are relative to the state folder: supervisor needs % and spaces escaped."""
    return """[supervisord]
nodaemon = true
umask = 077
pidfile = run/supervisord.pid
logfile = log/supervisord.log
logfile_maxbytes = 1MB
"""


def program_section(priority: int, program: Program) -> str:
    heading = f"[program:{program.name}]"
    if program.listen:
        heading = f"[fcgi-program:{program.name}]\nsocket = tcp://{program.listen}"
    return f"""{heading}
command = python -m stack.launch {program.name}
priority = {priority}
autorestart = true
startretries = 20
startsecs = 1
stopsignal = {program.stop_signal}
stopwaitsecs = 28
killasgroup = true
redirect_stderr = true
stdout_logfile = log/{program.name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
"""
