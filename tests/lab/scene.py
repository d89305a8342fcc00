"""Access to the stack under test: its processes, database and settings."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from chassis.testing.smtp_sink import serving
from deploy import provision
from stack import orphans, postgres, programs
from stack.console import StackError, wait_until
from stack.orphans import running
from stack.ports import free_ports
from stack.state import StateFolder, write_private
from tests.lab.client import ask
from tests.lab.mails import FlakySink
from tests.lab.proxy import Mode, Proxy, listening
from tests.lab.stacks import script

RECOVERY_SECONDS = 30
POLL_SECONDS = 0.02


@dataclass
class Scene:
    """`settings` are used for each restart of the stack."""

    state: StateFolder
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    proxy: Proxy | None = None
    sink: FlakySink | None = None
    worker_kills: int = 0  # since the sink exists

    def admin_password(self) -> str:
        return self.state.admin_password.read_text().strip()

    # Processes

    def leader(self, program: str) -> psutil.Process:
        return wait_until(
            lambda: running(self.state, program), seconds=RECOVERY_SECONDS, message=f"{program} is not running."
        )

    def end(self, process: psutil.Process, number: signal.Signals = signal.SIGKILL) -> None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        if not orphans.wait_until_gone([process], seconds=RECOVERY_SECONDS):
            raise StackError(f"Process {process.pid} still runs after {number.name}.")

    def restart(self, **changed: str) -> None:
        """Run scripts/restart with changed settings, which are kept."""
        self.settings |= changed
        script(self.state, self.port, "restart", **self.settings)

    # The database

    def database_port(self) -> int:
        argv = programs.read(self.state, "postgres").argv
        return int(next(each for each in argv if each.startswith("port=")).removeprefix("port="))

    def owner_url(self, database: str = postgres.DATABASE) -> str:
        password = self.state.secrets()["POSTGRES_PASSWORD"]
        return postgres.url(role=postgres.SUPERUSER, password=password, port=self.database_port(), database=database)

    def role_url(self, role: str) -> str:
        password = self.state.secrets()[f"{role.removesuffix('_service').upper()}_DATABASE_PASSWORD"]
        return postgres.url(role=role, password=password, port=self.database_port())

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser and return its rows, if any."""
        with provision.connected(self.owner_url()) as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def wait_for_database(self) -> None:
        postgres.wait_until_up(self.owner_url(), seconds=RECOVERY_SECONDS)

    def move_database(self, port: int) -> None:
        """Restart PostgreSQL on another port."""
        before = f"port={self.database_port()}"
        file = self.state.folder / "programs.json"
        rows = json.loads(file.read_text())
        for row in rows:
            if row["name"] == "postgres":
                row["argv"] = [f"port={port}" if each == before else each for each in row["argv"]]
        write_private(file, json.dumps(rows, indent=1))
        self.end(self.leader("postgres"), signal.SIGINT)
        self.wait_for_database()

    def wait_until_healthy(self) -> None:
        now = {"Cache-Control": "no-cache"}
        wait_until(
            lambda: all(ask(self.port, "GET", f"/{name}/health/ready/", headers=now).ok for name in ("user", "task")),
            seconds=RECOVERY_SECONDS,
            message="The services did not become ready.",
        )


@contextmanager
def behind_proxy(scene: Scene) -> Iterator[None]:
    """Move the database and run a proxy on its old port."""
    port = scene.database_port()
    (elsewhere,) = free_ports(1)
    scene.move_database(elsewhere)
    try:
        with listening(port, scene.database_port) as scene.proxy:
            scene.wait_until_healthy()
            yield
            scene.proxy.mode = Mode.PASS
    finally:
        scene.proxy = None
        scene.move_database(port)
        scene.wait_until_healthy()


@contextmanager
def mailing(scene: Scene) -> Iterator[None]:
    """Send notifications also by mail, to a server that fails at random."""
    sink = FlakySink(seed=scene.seed)
    with serving(sink=sink):
        scene.sink, scene.worker_kills = sink, 0
        scene.restart(EMAIL_URL=f"smtp://127.0.0.1:{sink.port}", NOTIFICATION_CHANNELS="log,email")
        try:
            yield
        finally:
            scene.sink = None
            scene.restart(EMAIL_URL="", NOTIFICATION_CHANNELS="log")
