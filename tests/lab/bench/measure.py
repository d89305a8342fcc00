"""What requests cost: CPU time and memory from the processes' own accounting, statements from PostgreSQL's log."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from deploy import provision
from stack.console import wait_until
from tests.lab.bench.baseline import Baseline
from tests.lab.scene import Scene

KINDS = {
    "gateway": "nginx",
    "user-service": "user service",
    "task-service": "task service",
    "user-worker": "workers",
    "task-worker": "workers",
}
WEB = ("user service", "task service", "baseline")
BACKGROUND = "background"  # the workers, their backends, and PostgreSQL's own processes
BACKEND = re.compile(r"postgres: \S+ \S+ \S+\((\d+)\)")
LOGGED = re.compile(
    r"\[(?P<pid>\d+)\] LOG:  (?:statement|execute [^:]*): (?P<sql>.*(?:\n\t.*)*)"
    r"(?:\n.*\[(?P=pid)\] DETAIL:  prepare: (?P<prepare>.*(?:\n\t.*)*))?"
)
TRANSACTION = re.compile(r"\s*(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET CONSTRAINTS|DEALLOCATE)", re.IGNORECASE)
LOGGED_WITHIN_SECONDS = 20
NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Logged:
    """A statement, and the PREPARE of one that is executed by name."""

    pid: int
    sql: str
    prepare: str = ""


Usage = dict[tuple[str, int], float]  # CPU seconds by kind and process


class Meter:
    """Reads the CPU time of all processes. Whose the connections are is looked up when it changes."""

    def __init__(self, scene: Scene, baseline: Baseline | None = None) -> None:
        self.scene, self.baseline = scene, baseline
        self.postgres = scene.leader("postgres")
        self.processes = list(self.find_processes())
        self.kind_of_port: dict[int, str] = {}

    def find_processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """Yield the processes of the stack and of the baseline, without PostgreSQL's, with their kinds."""
        leaders = [(kind, self.scene.leader(name)) for name, kind in KINDS.items()]
        if self.baseline:
            leaders += [("baseline", self.baseline.gunicorn), ("baseline nginx", self.baseline.nginx)]
        for kind, leader in leaders:
            for process in [leader, *leader.children(recursive=True)]:
                yield kind, process

    def backends(self) -> Iterator[tuple[str, int]]:
        """Yield PostgreSQL's processes; the kind of a backend is that of its client."""
        for process in self.postgres.children():
            found = BACKEND.match(title(process))
            client = self.client(int(found[1])) if found else ""
            yield f"postgres of {client}" if client in WEB else BACKGROUND, process.pid

    def client(self, port: int) -> str:
        if port not in self.kind_of_port:
            self.processes = list(self.find_processes())  # a server may have forked or replaced a worker meanwhile
            self.kind_of_port |= {each: kind for kind, process in self.processes for each in client_ports(process)}
        return self.kind_of_port.get(port, "")

    def usage(self) -> Usage:
        self.processes = list(self.find_processes())  # a server may have forked or replaced a worker meanwhile
        own = [(BACKGROUND if kind == "workers" else kind, process.pid) for kind, process in self.processes]
        return {(kind, pid): cpu_seconds(pid) for kind, pid in [*own, *self.backends()]}

    def web_backends(self) -> set[int]:
        return {pid for kind, pid in self.backends() if kind != BACKGROUND}

    def memory_megabytes(self) -> dict[str, float]:
        """Return the stack's proportional set size by kind, which counts shared pages once."""
        total: dict[str, float] = defaultdict(float)
        database = [("postgres", process) for process in (self.postgres, *self.postgres.children())]
        for kind, process in [*self.processes, *database]:
            if not kind.startswith("baseline"):
                total[kind] += process.memory_full_info().pss / 1e6
        return dict(total)


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # just ended
        return ""


def client_ports(process: psutil.Process) -> list[int]:
    try:
        return [each.laddr.port for each in process.net_connections(kind="tcp") if each.raddr]
    except psutil.Error:  # just ended
        return []


def cpu_seconds(pid: int) -> float:
    """Return what the scheduler has recorded, in nanoseconds; cpu_times() has hundredths of a second."""
    try:
        records = [(task / "schedstat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:  # just ended
        return 0.0
    return sum(int(record.split()[0]) for record in records) / NANOSECONDS


def spent(before: Usage, after: Usage) -> dict[str, float]:
    """Return the CPU seconds by kind between two records."""
    total: dict[str, float] = defaultdict(float)
    for (kind, pid), seconds in after.items():
        total[kind] += max(0.0, seconds - before.get((kind, pid), 0.0))
    return dict(total)


class StatementLog:
    """Counts statements in PostgreSQL's log, while all are logged."""

    def __init__(self, scene: Scene, cursor: Any) -> None:
        self.file = scene.state.log / "postgres.log"
        self.cursor = cursor
        self.marks = 0

    def of(self, send: Callable[[], object], meter: Meter) -> list[Logged]:
        """Return the statements of the web processes while `send` runs."""
        start = self.file.stat().st_size
        send()
        text = self.read_until_marked(start)
        backends = meter.web_backends()
        return [each for each in logged(text) if each.pid in backends and not TRANSACTION.match(each.sql)]

    def read_until_marked(self, start: int) -> str:
        """Return the log since `start`, once it has everything until now."""
        self.marks += 1
        mark = f"SELECT 'mark {self.marks} of bench'"
        self.cursor.execute(mark)

        def read() -> str:
            with self.file.open(errors="replace") as stream:
                stream.seek(start)
                text = stream.read()
            return text if mark in text else ""

        return wait_until(read, seconds=LOGGED_WITHIN_SECONDS, message="PostgreSQL does not log the statements.")


@contextmanager
def logged_statements(scene: Scene) -> Iterator[StatementLog]:
    with provision.connected(scene.owner_url()) as cursor:
        set_logging(cursor, "all")
        try:
            yield StatementLog(scene, cursor)
        finally:
            set_logging(cursor, "none")


def logged(text: str) -> Iterator[Logged]:
    for found in LOGGED.finditer(text):
        yield Logged(int(found["pid"]), found["sql"], found["prepare"] or "")


def set_logging(cursor: Any, what: str) -> None:
    """pg_stat_statements would count for us, but the wheel's PostgreSQL does not have it."""
    cursor.execute(f"ALTER SYSTEM SET log_statement = '{what}'")
    cursor.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)  # each process reads it when it is idle


def percentile(values: list[float], share: float) -> float:
    """Return the nearest-rank percentile, or 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
