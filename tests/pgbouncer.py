"""A real PgBouncer in transaction mode: an installed one, or Debian's package unpacked into .venv."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from stack import bootstrap, postgres
from stack.bootstrap import VENV
from stack.console import StackError
from stack.ports import free_ports
from tests.local_stack import HANG_SECONDS, new_folder

LIBRARIES = ("libevent-2.1", "libc-ares")  # dependencies of Debian's package that most machines lack
CONFIGURATION = """
[databases]
tmservice = host=127.0.0.1 port={server_port} dbname=tmservice

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
{more}
"""


def find() -> tuple[str, dict[str, str]]:
    """Return the program, and the environment in which it starts."""
    if program := shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"):
        return program, dict(os.environ)
    root = VENV / "pgbouncer"
    program = root / "usr" / "sbin" / "pgbouncer"
    if not program.is_file():
        unpack(root)
    return str(program), os.environ | {"LD_LIBRARY_PATH": f"{root}/usr/lib/{platform.machine()}-linux-gnu"}


def unpack(root: Path) -> None:
    if not shutil.which("apt-get"):
        raise StackError("PgBouncer is not installed, and apt-get is missing: install the package pgbouncer.")
    folder = new_folder()
    if os.geteuid() == 0:
        bootstrap.run_quietly(["apt-get", "update", "-qq"], message="apt-get update failed")
    listed = subprocess.run(["apt-cache", "depends", "pgbouncer"], check=True, capture_output=True, text=True).stdout
    libraries = [word for word in listed.split() if word.startswith(LIBRARIES)]
    command = ["sh", "-ec", 'cd "$0"; apt-get download -qq "$@"; for file in *.deb; do dpkg -x "$file" root; done']
    bootstrap.run_quietly([*command, str(folder), "pgbouncer", *libraries], message="Downloading PgBouncer failed")
    shutil.rmtree(root, ignore_errors=True)
    shutil.move(folder / "root", root)
    shutil.rmtree(folder)


@contextmanager
def pgbouncer(server_port: int, passwords: dict[str, str], more: str = "") -> Iterator[int]:
    """Run PgBouncer in front of a PostgreSQL for these roles; yield its port."""
    program, environment = find()
    folder = new_folder()
    (port,) = free_ports(1)
    users, configuration = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text("".join(f'"{role}" "{password}"\n' for role, password in passwords.items()))
    configuration.write_text(CONFIGURATION.format(server_port=server_port, port=port, users=users, more=more))
    with (folder / "log").open("w") as log:  # it refuses to run as root, like PostgreSQL
        process = subprocess.Popen(
            [program, configuration], env=environment, stdout=log, stderr=log, **postgres.as_nobody()
        )
    try:
        role, password = next(iter(passwords.items()))
        wait_until_up(postgres.url(role=role, password=password, port=port), folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def wait_until_up(url: str, log: Path) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        try:
            return psycopg2.connect(url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
