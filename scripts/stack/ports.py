"""The TCP ports of a local stack, all on loopback unless GATEWAY_BIND says otherwise."""

import errno
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from chassis.ops import env
from stack.console import StackError
from stack.state import StateFolder, write_private

IPV4, IPV6 = "127.0.0.1", "::1"
EVERY_IPV4, EVERY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - only if GATEWAY_BIND says so
CONNECT_SECONDS = 5
# Below the ephemeral range of Linux, or an outgoing connection could take a chosen port.
FIRST, LAST = 20_000, 32_767


@dataclass(frozen=True, slots=True)
class Ports:
    """The user chooses only the gateway's port and address; the other ports are any free ones."""

    gateway: int
    user_service: int
    task_service: int
    postgres: int
    bind: str = field(default=IPV4, kw_only=True)

    @property
    def gateway_listen(self) -> str:
        """Return GATEWAY_LISTEN."""
        return ",".join(f"{bracketed(address)}:{self.gateway}" for address in addresses(self.bind))

    @property
    def public_url(self) -> str:
        """Return the URL for users on this machine: with `localhost` if that resolves to the gateway."""
        own = url_host(self.bind)
        return f"http://{'localhost' if own == IPV4 and localhost_resolves_here() else own}:{self.gateway}"

    @property
    def gateway_url(self) -> str:
        """Return the URL that the stack itself uses, independent of `localhost`."""
        return f"http://{url_host(self.bind)}:{self.gateway}"


def addresses(bind: str) -> list[str]:
    """Return the addresses to listen on: with 127.0.0.1 also ::1, since `localhost` may mean either."""
    return [bind, IPV6] if bind in (IPV4, EVERY_IPV4) and has_ipv6() else [bind]


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def url_host(bind: str) -> str:
    """Return the host that reaches this bind address from this machine."""
    return bracketed({EVERY_IPV4: IPV4, EVERY_IPV6: IPV6}.get(bind, bind))


def chosen_address() -> tuple[str, int]:
    """Return the configured address and port of the gateway."""
    return chosen_bind(), env.gateway_port()


def choose_ports() -> Ports:
    bind, gateway = chosen_address()
    check_loopback()
    check_port_is_free(gateway, bind)
    return Ports(gateway, *free_ports(3), bind=bind)


def chosen_bind() -> str:
    return str(env.gateway_bind())


def write_ports(state: StateFolder, ports: Ports) -> None:
    write_private(state.ports, json.dumps(asdict(ports)))


def read_ports(state: StateFolder) -> Ports:
    return Ports(**json.loads(state.ports.read_text()))


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on.

    A port is not returned again before all others: the caller may bind it later or after a restart.
    """
    with open_counter() as file:
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
def open_counter() -> Iterator[TextIO]:
    """Open the locked file with the last port that this user got."""
    path = Path("/tmp") / f"tmservice-latest-port-{os.getuid()}"  # noqa: S108 - the same for all, whatever TMPDIR says
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def check_loopback() -> None:
    """Check that programs can call each other: some systems allow listening on an address that is down."""
    try:
        with socket.create_server((IPV4, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise no_loopback(error) from error


def is_free(port: int) -> bool:
    try:
        listen(port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise no_loopback(error) from error
    return True


def check_port_is_free(port: int, bind: str) -> None:
    try:
        for address in addresses(bind):
            listen(port, address)
    except PermissionError as error:
        raise StackError(f"This user may not use port {port}; set GATEWAY_PORT to one above 1023.") from error
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise (no_loopback(error) if bind == IPV4 else unknown_address(bind)) from error
        raise StackError(f"Another program uses port {port}; set GATEWAY_PORT to a free one.") from error


def has_ipv6() -> bool:
    try:
        listen(0, IPV6)
    except OSError:  # no such address, or no such protocol
        return False
    return True


def localhost_resolves_here() -> bool:
    try:
        found = {address[0] for *_, address in socket.getaddrinfo("localhost", None)}
    except OSError:
        return False
    return bool(found & {IPV4, *([IPV6] if has_ipv6() else [])})


def listen(port: int, address: str = IPV4) -> None:
    socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET).close()


def no_loopback(error: OSError) -> StackError:
    return StackError(f"The programs cannot listen on {IPV4} and call each other there: {error.strerror or error}.")


def unknown_address(bind: str) -> StackError:
    return StackError(f"GATEWAY_BIND is {bind}, which is not an address of this machine.")
