"""The TCP ports of a local stack, all on 127.0.0.1."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from chassis import env
from stack.console import Refused
from stack.state import State, write_private

# Below those that Linux gives to outgoing connections: one of them would hold a port that was still free when chosen.
FIRST, LAST = 20_000, 32_767


@dataclass(frozen=True, slots=True)
class Ports:
    """Only the gateway's is chosen by a person; the others are whatever is free."""

    gateway: int
    user_service: int
    task_service: int
    postgres: int

    @property
    def public_url(self) -> str:
        return f"http://localhost:{self.gateway}"


def choose_ports() -> Ports:
    gateway = env.port("GATEWAY_PORT", 8080)
    refuse_taken(gateway)
    return Ports(gateway, *free_ports(3))


def write_ports(state: State, ports: Ports) -> None:
    write_private(state.ports, json.dumps(asdict(ports)))


def read_ports(state: State) -> Ports:
    return Ports(**json.loads(state.ports.read_text()))


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on.

    All others are handed out before one of them is again: whoever asked may bind it later, or again after a restart.
    """
    with counter() as file:
        latest = int(file.read() or secrets.choice(range(FIRST, LAST + 1)))
        ports: list[int] = []
        while len(ports) < count:
            latest = latest + 1 if latest < LAST else FIRST
            if is_free(latest):
                ports.append(latest)
        file.truncate(0)
        file.write(str(latest))
    return ports


@contextmanager
def counter() -> Iterator[TextIO]:
    """Open the file that holds the port last handed out to this person, for one process at a time."""
    path = Path("/tmp") / f"tmservice-latest-port-{os.getuid()}"  # noqa: S108 - the same for all, whatever TMPDIR says
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def refuse_taken(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except PermissionError as error:
        raise Refused(f"Port {port} may not be used by this user; set GATEWAY_PORT to one above 1023.") from error
    except OSError as error:
        raise Refused(f"Port {port} is taken by another program; set GATEWAY_PORT to a free one.") from error
