"""Raw HTTP: exact responses, misbehaving services, and a gateway in front of them."""

import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from stack import nginx
from stack.ports import free_ports
from stack.state import StateFolder
from tests.local_stack import HANG_SECONDS, eventually

HOSTNAME = "localhost"


@dataclass(frozen=True)
class HttpMessage:
    """A request or response with all headers, including duplicates."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def __getitem__(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def json(self) -> dict:
        return json.loads(self.body)


def parse(content: bytes) -> HttpMessage:
    head, _, body = content.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    return HttpMessage(start, [(name, value) for name, _, value in pairs], body)


def connect(port: int, *, source: str = "") -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", port), timeout=HANG_SECONDS, source_address=(source, 0) if source else None
    )


def lines(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return an HTTP/1.1 request with Connection: close. In header names, _ stands for -."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    length = {"Content-Length": str(len(body))} if body else {}
    fields = {"Host": HOSTNAME, "Connection": "close"} | length | given
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def rest(connection: socket.socket) -> bytes:
    """Read until the other side closes or resets the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def send(port: int, request: bytes, *, source: str = "") -> HttpMessage:
    """Send raw bytes and return the response."""
    with connect(port, source=source) as connection:
        connection.sendall(request)
        return parse(rest(connection))


@contextmanager
def connections(
    port: int, count: int, *, each_sends: bytes, clients: int = 1, source: str = ""
) -> Iterator[list[socket.socket]]:
    """Open `count` connections from one address, or from those of `clients` clients in turn."""
    with ExitStack() as stack:
        sources = [source or f"127.0.9.{1 + number % clients}" for number in range(count)]
        opened = [stack.enter_context(connect(port, source=each)) for each in sources]
        for connection in opened:
            connection.sendall(each_sends)
        yield opened


# How a service handles a request. The connection is closed afterwards.
Behavior = Callable[[HttpMessage, socket.socket], None]


def answer(status: str = "200 OK", body: bytes = b"{}", **headers: str) -> Behavior:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return lambda request, connection: connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def hang_up(request: HttpMessage, connection: socket.socket) -> None:
    pass


def send_garbage(request: HttpMessage, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nnot a header\r\n\r\n<html>")


def hold(until: Event) -> Behavior:
    """Wait for the event before responding."""

    def behavior(request: HttpMessage, connection: socket.socket) -> None:
        until.wait(60)
        answer()(request, connection)

    return behavior


class FakeService:
    """A service on a real socket that records requests. `behaviors` are used once each, then `behavior`."""

    def __init__(self, *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[HttpMessage] = []
        self.behaviors: list[Behavior] = []
        self.behavior: Behavior = answer()
        self.tls = tls
        self.listener = socket.create_server((address, port), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self.listener.accept()
                Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:  # the client has gone
            stream = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with stream:
                request = self.read(stream)
                if request is not None:
                    self.requests.append(request)
                    behavior = self.behaviors.pop(0) if self.behaviors else self.behavior
                    behavior(request, stream)

    def read(self, connection: socket.socket) -> HttpMessage | None:
        content = b""
        while b"\r\n\r\n" not in content:
            if not (chunk := connection.recv(65536)):
                return None
            content += chunk
        length = int(parse(content)["Content-Length"] or 0)
        while len(parse(content).body) < length:
            content += connection.recv(65536)
        return parse(content)

    def __enter__(self) -> "FakeService":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reset(self) -> "FakeService":
        """Forget the requests and behave as at first."""
        self.requests.clear()
        self.behaviors.clear()
        self.behavior = answer()
        return self

    def paths(self) -> list[str]:
        return [request.start.split(" ")[1] for request in self.requests]

    def close(self) -> None:
        with suppress(OSError):  # already closed
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@dataclass
class Gateway:
    """A real Nginx with this project's template. `changed` replaces text in the rendered configuration."""

    user_service: str
    task_service: str
    settings: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tmservice-gateway-")))
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def __enter__(self) -> "Gateway":
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder)
            self.folder.chmod(0o711)
            self.state.create()
            self.write(task_service=self.task_service)
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(nginx.command(self.state), cwd=self.state.nginx, stdout=log, stderr=log)
            undo.callback(self.process.wait, 20)
            undo.callback(self.process.terminate)
            eventually(self.is_up)
            self.undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.undo.close()

    def write(self, *, task_service: str) -> None:
        nginx.write_configuration(
            self.state,
            listen=f"127.0.0.1:{self.port}",
            user_service=self.user_service,
            task_service=task_service,
            environment={"PATH": os.environ["PATH"], "RESOLVER": "127.0.0.1:1", **self.settings},
        )
        rendered = self.state.nginx / "conf.d" / "tmservice.conf"
        for old, new in self.changed.items():
            assert old in rendered.read_text()
            rendered.write_text(rendered.read_text().replace(old, new))

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.folder)

    def logged(self, **members: object) -> dict:
        """Wait for the access log line with these members: it is written after the response."""
        found: list[dict] = []

        def look() -> bool:
            entries = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            found[:] = [entry for entry in entries if members.items() <= entry.items()]
            return bool(found)

        eventually(look)
        return found[-1]

    @property
    def log(self) -> Path:
        return self.folder / "log" / "gateway.log"

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(ConnectionRefusedError):
            return self.call("GET", "/health/live/").status == 200
        return False

    def call(self, method: str, path: str, body: bytes = b"", *, source: str = "", **headers: str) -> HttpMessage:
        return send(self.port, lines(method, path, body, **headers), source=source)


class NameServer:
    """A DNS server for IPv4 addresses; `names` may change."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                query, client = self.socket.recvfrom(512)
                self.socket.sendto(self.reply(query), client)

    def reply(self, query: bytes) -> bytes:
        """Return the question with an A record for each address (RFC 1035, section 4)."""
        end = query.index(b"\0", 12) + 5
        (kind,) = struct.unpack(">H", query[end - 4 : end - 2])
        first_label = query[13 : 13 + query[12]].decode()
        addresses = self.names.get(first_label, []) if kind == 1 else []
        header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0)
        records = [struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address) for address in addresses]
        return header + query[12:end] + b"".join(records)

    def close(self) -> None:
        self.socket.close()
