"""The TCP ports of a local stack, all on 127.0.0.1; that of the gateway on ::1 too, where the machine has it."""

import errno
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
IPV4, IPV6 = "127.0.0.1", "::1"
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
        """Return what a person on this machine types, and the names in its files may be odd."""
        return f"http://{'localhost' if localhost_leads_here() else IPV4}:{self.gateway}"

    @property
    def gateway_url(self) -> str:
        """Return what the stack itself calls, whatever `localhost` is here."""
        return f"http://{IPV4}:{self.gateway}"

    @property
    def gateway_listen(self) -> str:
        """Return GATEWAY_LISTEN: both loopback addresses, since clients take `localhost` for one or the other."""
        return ",".join([f"{IPV4}:{self.gateway}", *([f"[{IPV6}]:{self.gateway}"] if has_ipv6() else [])])


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
        listen(port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise no_loopback(error) from error
    return True


def refuse_taken(port: int) -> None:
    try:
        listen(port)
        if has_ipv6():
            listen(port, IPV6)
    except PermissionError as error:
        raise Refused(f"Port {port} may not be used by this user; set GATEWAY_PORT to one above 1023.") from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise no_loopback(error) from error
        raise Refused(f"Port {port} is taken by another program; set GATEWAY_PORT to a free one.") from error


def has_ipv6() -> bool:
    try:
        listen(0, IPV6)
    except OSError:  # no such address, or no such protocol
        return False
    return True


def localhost_leads_here() -> bool:
    try:
        found = {address[0] for *_, address in socket.getaddrinfo("localhost", None)}
    except OSError:
        return False
    return bool(found & {IPV4, *([IPV6] if has_ipv6() else [])})


def listen(port: int, address: str = IPV4) -> None:
    socket.create_server((address, port), family=socket.AF_INET6 if address == IPV6 else socket.AF_INET).close()


def no_loopback(error: OSError) -> Refused:
    return Refused(f"{IPV4}, where the programs listen, is no address of this machine: {error.strerror}.")
