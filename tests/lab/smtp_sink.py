"""A mail server on a real socket. Until it is well it fails at random, but never a message that it has accepted."""

import email
import json
import os
import random
import socketserver
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock, Thread

REFUSED_SHARE = HUNG_UP_SHARE = 0.02  # of what RCPT, DATA and the end of the data are answered with
SLOWEST_ANSWER_SECONDS = 0.02  # to an accepted message: a kill in between makes a copy
HANG_UP = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """What was accepted: the Message-ID, the recipient and X-TMService-Event."""

    message_id: str
    to: str
    event: str


class Conversation(socketserver.StreamRequestHandler):
    """The server's side of RFC 5321, as much of it as smtplib speaks."""

    timeout = 30
    server: "Sink"

    def handle(self) -> None:
        self.to = ""
        with suppress(ConnectionError, TimeoutError):  # whoever spoke was killed
            going_on = self.reply("220 sink ready")
            while going_on and (line := self.rfile.readline()):
                going_on = self.obey(line.decode().strip())

    def obey(self, line: str) -> bool:
        """Answer a command and return whether the conversation goes on."""
        command = line[:4].upper()
        if command in ("RCPT", "DATA") and (trouble := self.server.trouble()) is not None:
            return self.reply(trouble)
        if command == "DATA":
            return self.reply("354 go on") and self.take_message()
        if command == "RCPT":
            self.to = line.partition("<")[2].rpartition(">")[0]
        return self.reply("221 bye" if command == "QUIT" else "250 fine") and command != "QUIT"

    def take_message(self) -> bool:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:  # cut off: no message
                return False
            lines.append(line)
        if (trouble := self.server.trouble()) is not None:
            return self.reply(trouble)
        message = email.message_from_bytes(b"".join(lines))
        self.server.accept(Mail(str(message["Message-ID"]), self.to, str(message["X-TMService-Event"])))
        return self.reply("250 taken")

    def reply(self, text: str) -> bool:
        if text != HANG_UP:
            self.wfile.write(f"{text}\r\n".encode())
        return text != HANG_UP


class Sink(socketserver.ThreadingTCPServer):
    """Notes each accepted message in `ledger`, on the disk, before it says so."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, ledger: Path, *, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.random = random.Random(f"{seed} sink")
        self.lock = Lock()
        self.ledger = ledger.open("a")
        self.accepted: list[Mail] = []
        self.is_well = False

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"

    def trouble(self) -> str | None:
        """Return what to answer with instead of consent."""
        if self.is_well:
            return None
        with self.lock:
            drawn = self.random.random()
        if drawn < REFUSED_SHARE:
            return "451 try again later"
        return HANG_UP if drawn < REFUSED_SHARE + HUNG_UP_SHARE else None

    def accept(self, mail: Mail) -> None:
        with self.lock:
            self.ledger.write(json.dumps(asdict(mail)) + "\n")
            self.ledger.flush()
            os.fsync(self.ledger.fileno())
            self.accepted.append(mail)
            pause_seconds = self.random.uniform(0, SLOWEST_ANSWER_SECONDS)
        time.sleep(pause_seconds)


@contextmanager
def running(ledger: Path, *, seed: int) -> Iterator[Sink]:
    with Sink(ledger, seed=seed) as sink:
        Thread(target=sink.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield sink
        finally:
            sink.shutdown()
            sink.ledger.close()
