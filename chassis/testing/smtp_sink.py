"""A mail server on a real socket that can misbehave on request."""

import email
import email.policy
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from threading import Event, Thread

HANG_UP, HANG = "hang up", "hang"
END_OF_DATA = "."


class Session(socketserver.StreamRequestHandler):
    """One SMTP conversation (RFC 5321)."""

    server: "Sink"

    def handle(self) -> None:
        self.sender, self.recipients = "", list[str]()
        with suppress(ConnectionError):  # the client was killed
            going_on = self.reply("CONNECT", "220 sink ready")
            while going_on and (line := self.rfile.readline()):
                command = line.decode().split(":")[0].split()[0].upper()
                self.server.commands.append(command)
                going_on = self.obey(command, line.decode().strip())

    def obey(self, command: str, line: str) -> bool:
        """Reply to a command; return whether the session continues."""
        match command:
            case "MAIL":
                self.sender = line.partition("<")[2].partition(">")[0]
            case "RCPT":
                self.recipients.append(line.partition("<")[2].rpartition(">")[0])
                return self.reply(self.recipients[-1], self.server.answer("RCPT", "250 fine"))
            case "DATA":
                text = self.server.answer("DATA", "354 go on")
                return self.send(text) and (not text.startswith("354") or self.take_data())
            case "QUIT":
                self.reply(command, "221 bye")
                return False
        return self.reply(command, "250 fine")

    def take_data(self) -> bool:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:  # cut off: no message
                return False
            lines.append(line.removeprefix(b"."))
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        return self.reply(END_OF_DATA, self.server.take(self.sender, self.recipients, message))

    def reply(self, command: str, text: str) -> bool:
        return self.send(self.server.answer(command, text))

    def send(self, text: str) -> bool:
        if text == HANG:
            self.server.hanging.set()
            self.server.closing.wait(10)
        if text in (HANG, HANG_UP):
            return False
        self.wfile.write(f"{text}\r\n".encode())
        return True


class Sink(socketserver.ThreadingTCPServer):
    """`answers` override replies by command, END_OF_DATA or recipient."""

    daemon_threads, block_on_close = True, True
    allow_reuse_address = True
    request_queue_size = 50

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Session)
        self.answers: dict[str, str] = {}
        self.received: list[tuple[str, list[str], EmailMessage]] = []
        self.commands: list[str] = []
        self.hanging, self.closing = Event(), Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def answer(self, command: str, usual: str) -> str:
        return self.answers.get(command, usual)

    def take(self, sender: str, recipients: list[str], message: EmailMessage) -> str:
        """Store a message and return the reply."""
        self.received.append((sender, recipients, message))
        return "250 taken"


@contextmanager
def serving(port: int = 0, sink: Sink | None = None) -> Iterator[Sink]:
    """Run a sink on this port, or on any free one."""
    with sink or Sink(port) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
