"""scripts/restore: restore a backup of scripts/backup.

A running stack is stopped and started again; it serves nothing meanwhile.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from chassis.ops import env
from stack import orphans, postgres, programs, run, settings, startup, supervision
from stack.backup import SCHEMAS, STANDARD
from stack.bootstrap import ROOT
from stack.console import StackError, exit_on_error, say, step
from stack.ports import Ports, free_ports, read_ports
from stack.state import StateFolder, find_state
from stack.unsupervised import pg_tool, require_embedded_postgres, run_unsupervised, unsupervised_postgres

KEEP_NUMBERS = ROOT / "chassis" / "keep_numbers.sql"


def main() -> None:
    arguments = parse()
    with exit_on_error("restore", env.SettingError):
        env.load_dotenv()
        state = find_state()
        with open_backup(state, arguments.file) as file:
            restore(state, file, only=arguments.only, may_overwrite=arguments.yes)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/restore", description="Restore a backup into the services of the local stack."
    )
    parser.add_argument("--only", choices=SCHEMAS, help="only the database of this service")
    parser.add_argument("--yes", action="store_true", help="replace existing data")
    parser.add_argument("file", metavar="FILE", help="a backup from scripts/backup; - is standard input")
    return parser.parse_args()


@contextmanager
def open_backup(state: StateFolder, name: str) -> Iterator[Path]:
    """Yield the path of the backup. Standard input is read to its end before anything stops."""
    if name != STANDARD:
        yield Path(name).absolute()  # a leading hyphen would make it an option of PostgreSQL's tools
        return
    if sys.stdin.isatty():
        raise StackError("Standard input is a terminal; redirect it: scripts/restore - < FILE")
    state.create()
    with tempfile.TemporaryDirectory(prefix="restore-", dir=state.folder) as folder:
        file = Path(folder) / "standard-input"
        with file.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        yield file


def restore(state: StateFolder, file: Path, *, only: str | None, may_overwrite: bool) -> None:
    """Restore the backup; check everything before the stack stops."""
    require_embedded_postgres()
    state.create()
    services = select_services(state, file, only)
    names = " and ".join(f"the {service} service" for service in services)
    if (state.postgres / "PG_VERSION").is_file() and not may_overwrite:
        raise StackError(f"This replaces all data of {names} in {state.folder}; add --yes to confirm.")
    ports = Ports(0, *free_ports(3))
    startup.check_settings(settings.for_services(state, ports))
    was_running = stop(state)
    with run.start_lock(state):
        postgres.ensure_cluster(state, state.secrets()["POSTGRES_PASSWORD"])
        try:
            restore_schemas(state, file, services)
        finally:
            if was_running:
                start_again(state)
    say(f"Restored {names}.")


def select_services(state: StateFolder, file: Path, only: str | None) -> list[str]:
    try:
        file.open("rb").close()
    except OSError as error:
        raise StackError(f"{file} cannot be read: {error.strerror}.") from error
    schemas = re.findall(r"^\d+;.* SCHEMA - (\S+) ", pg_tool(state, "pg_restore", "--list", str(file)), re.MULTILINE)
    held = [service for service, schema in SCHEMAS.items() if schema in schemas]
    if not held or (only and only not in held):
        raise StackError(f"{file} contains no data of {f'the {only} service' if only else 'either service'}.")
    return [only] if only else held


def stop(state: StateFolder) -> bool:
    """Stop the stack and return whether it was running. It will use the same address again."""
    supervisor = supervision.find(state)
    if supervisor is None:
        return False
    ports = read_ports(state)
    os.environ.update(GATEWAY_PORT=str(ports.gateway), GATEWAY_BIND=ports.bind)
    with step("Stopping the stack"):
        in_terminal = [each for each in supervisor.parents()[:1] if is_run(each)]
        supervision.stop(state)
        orphans.wait_until_gone(in_terminal, seconds=supervision.STOP_SECONDS)  # it stops the stack on exit
    return True


def is_run(process: psutil.Process) -> bool:
    try:
        return "stack.run" in process.cmdline()
    except psutil.NoSuchProcess:  # scripts/run --detach has ended
        return False


def start_again(state: StateFolder) -> None:
    try:
        ports = run.prepare(state, with_demo=state.lifted_limits.exists())
        supervision.start(state)
        startup.bring_up(state, ports)
    except BaseException:
        run.end(state)
        raise
    say(f"TMService is running again at {ports.public_url}, in the background; scripts/stop stops it.")


def restore_schemas(state: StateFolder, file: Path, services: list[str]) -> None:
    """Replace the schemas, migrate them to this version, and update the task service's directory."""
    with unsupervised_postgres(state) as port:
        startup.provision_embedded(state, port=port)
        with step(f"Reading {file}"):
            replace(state, file, [SCHEMAS[service] for service in services], port=port)
        user_port, task_port = free_ports(2)
        ports = Ports(0, user_port, task_port, port)
        environments = settings.for_services(state, ports)
        startup.migrate(state, ports, environments)
        if "user" in services:
            reconcile(state, environments, port=user_port)


def replace(state: StateFolder, file: Path, schemas: list[str], *, port: int) -> None:
    """Replace the schemas in one transaction, so that a failure changes nothing."""
    emptied = [
        f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name} AUTHORIZATION {name}_owner" for name in schemas
    ]
    owned = [
        f"REASSIGN OWNED BY {name} TO {name}_owner" for name in schemas
    ]  # a backup of an older version has no owners
    with tempfile.TemporaryDirectory(prefix="restore-", dir=state.folder) as name:
        script, numbers = Path(name) / "script.sql", Path(name) / "numbers.sql"
        # Read the whole backup before changing anything.
        pg_tool(state, "pg_restore", *(f"--schema={name}" for name in schemas), f"--file={script}", str(file))
        numbers.write_text(pg_tool(state, "psql", "-XqAt", f"--file={KEEP_NUMBERS}", port=port))
        before, after = ([f"--command={statement}" for statement in each] for each in (emptied, owned))
        statements = [*before, f"--file={script}", f"--file={numbers}", *after]
        pg_tool(state, "psql", "-Xq", "--single-transaction", "--set=ON_ERROR_STOP=1", *statements, port=port)


def reconcile(state: StateFolder, environments: Mapping[str, dict[str, str]], *, port: int) -> None:
    """Update the accounts in the task service. Only the user service runs, without the gateway."""
    url = f"http://127.0.0.1:{port}"
    alone = {"RUN_WORKER": "separate", "MIGRATE_ON_START": "false", "WEB_CONCURRENCY": "1"}
    server = programs.web(
        "user_service",
        port=port,
        environment=settings.full_environment("user_service", environments["user_service"] | alone),
    )
    with run_unsupervised(state, server):
        startup.wait_until_ready(url, "user")
        environment = environments["task_service"] | {"USER_SERVICE_URL": url}
        process = startup.manage("task_service", "reconcile_directory", environment=environment)
        output, errors = process.communicate()
        if process.returncode:
            raise StackError(f"The task service could not be updated; run the restore again: {errors.strip()}")
    say(output.strip())


if __name__ == "__main__":
    main()
