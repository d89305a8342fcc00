"""scripts/backup: all that both services, or one of them, have stored, as it was at one instant, in one file."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chassis import env
from stack import run, supervision
from stack.alone import postgres_alone, refuse_foreign_postgres, tool
from stack.console import Refused, say, step
from stack.ports import read_ports
from stack.state import State, find_state

SCHEMAS = {"user": "user_service", "task": "task_service"}
LOCK_SECONDS = 30


def main() -> None:
    arguments = parse()
    try:
        env.load_dotenv()
        backup(find_state(), arguments.file, sides=[arguments.only] if arguments.only else list(SCHEMAS))
    except (Refused, env.SettingError) as error:
        sys.exit(f"scripts/backup: {error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped; nothing was written.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/backup", description="Write what the services of the local stack have stored into a file."
    )
    parser.add_argument("--only", choices=SCHEMAS, help="the database of one service alone")
    parser.add_argument("file", type=Path, metavar="FILE", help="is replaced if it is there")
    return parser.parse_args()


def backup(state: State, file: Path, *, sides: list[str]) -> None:
    refuse_foreign_postgres()
    if not (state.postgres / "PG_VERSION").is_file():
        raise Refused(f"There is no database in {state.folder}; scripts/run makes it.")
    schemas = [f"--schema={SCHEMAS[side]}" for side in sides]
    options = ["--format=custom", "--no-unlogged-table-data", f"--lock-wait-timeout={LOCK_SECONDS}s", *schemas]
    with written_whole(file) as draft, database(state) as port, step(f"Writing {file}"):
        tool(state, "pg_dump", *options, f"--file={draft}", port=port)
    say(f"{file} holds {file.stat().st_size} bytes. Keys and passwords are not in it.")


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Give a file that only its owner may read, which takes the place of `file` at the end of the block."""
    if file.is_dir():
        raise Refused(f"{file} is a folder.")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}.") from error
    draft = Path(name)
    try:
        yield draft
        os.fsync(descriptor)
        draft.replace(file)
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)


@contextmanager
def database(state: State) -> Iterator[int]:
    """Give the port of the stack's PostgreSQL, which runs in the block alone where the stack is stopped."""
    if supervision.find(state):
        yield read_ports(state).postgres
    else:
        with run.only_one_starts(state), postgres_alone(state) as port:
            yield port


if __name__ == "__main__":
    main()
