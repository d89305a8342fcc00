"""scripts/backup: a consistent snapshot of both services' data, or of one's, in one file."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from chassis.ops import env
from stack import run, supervision
from stack.console import StackError, exit_on_error, say, step
from stack.ports import read_ports
from stack.state import StateFolder, find_state
from stack.unsupervised import pg_tool, require_embedded_postgres, unsupervised_postgres

SCHEMAS = {"user": "user_service", "task": "task_service"}
LOCK_SECONDS = 30
STANDARD = "-"  # standard output, and for scripts/restore standard input


def main() -> None:
    arguments = parse()
    with exit_on_error("backup", env.SettingError, stopped="Stopped; nothing was written."):
        env.load_dotenv()
        write = print_backup if arguments.file == STANDARD else backup
        write(find_state(), Path(arguments.file), services=[arguments.only] if arguments.only else list(SCHEMAS))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/backup", description="Write the data of the local stack's services to a file."
    )
    parser.add_argument("--only", choices=SCHEMAS, help="only the database of this service")
    parser.add_argument("file", metavar="FILE", help="replaced if it exists; - is standard output")
    return parser.parse_args()


def print_backup(state: StateFolder, _: Path, *, services: list[str]) -> None:
    """Write the backup to standard output once it is complete."""
    if sys.stdout.isatty():
        raise StackError("Standard output is a terminal; redirect it: scripts/backup - > FILE")
    check_database(state)
    with tempfile.TemporaryDirectory(prefix="backup-", dir=state.folder) as folder:
        file = Path(folder) / "standard-output"
        with redirect_stdout(sys.stderr):
            backup(state, file, services=services)
        try:
            with file.open("rb") as source, os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0) as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise StackError(f"The backup could not be written to standard output: {error.strerror}.") from error


def check_database(state: StateFolder) -> None:
    require_embedded_postgres()
    if not (state.postgres / "PG_VERSION").is_file():
        raise StackError(f"There is no database in {state.folder}; scripts/run creates it.")


def backup(state: StateFolder, file: Path, *, services: list[str]) -> None:
    check_database(state)
    schemas = [f"--schema={SCHEMAS[service]}" for service in services]
    options = ["--format=custom", "--no-unlogged-table-data", f"--lock-wait-timeout={LOCK_SECONDS}s", *schemas]
    with write_atomically(file) as draft, database(state) as port, step(f"Writing {file}"):
        pg_tool(state, "pg_dump", *options, f"--file={draft}", port=port)
    say(f"{file} has {file.stat().st_size} bytes. It does not contain keys or passwords.")


@contextmanager
def write_atomically(file: Path) -> Iterator[Path]:
    """Yield a private draft that replaces `file` at the end of the block."""
    if file.is_dir():
        raise StackError(f"{file} is a folder.")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise StackError(f"{file} cannot be written: {error.strerror}.") from error
    draft = Path(name)
    try:
        yield draft
        os.fsync(descriptor)
        draft.replace(file)
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)


@contextmanager
def database(state: StateFolder) -> Iterator[int]:
    """Yield the port of the stack's PostgreSQL; start it for the block if the stack is stopped."""
    if supervision.find(state):
        yield read_ports(state).postgres
    else:
        with run.start_lock(state), unsupervised_postgres(state) as port:
            yield port


if __name__ == "__main__":
    main()
