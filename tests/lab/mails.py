"""A mail server that fails at random, but never a message that it has accepted."""

import random
import time
from dataclasses import dataclass
from email.message import EmailMessage
from threading import Lock

from chassis.testing.smtp_sink import HANG_UP, Sink

REFUSED_SHARE = HUNG_UP_SHARE = 0.02  # of the answers to RCPT, DATA and the end of the data
MAX_ANSWER_SECONDS = 0.02  # to an accepted message: a kill in between makes a copy


@dataclass(frozen=True, slots=True)
class Mail:
    """An accepted message: its Message-ID, the recipient and X-TMService-Event."""

    message_id: str
    to: str
    event: str


class FlakySink(Sink):
    """Accepts everything once `is_well`."""

    block_on_close = False

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(f"{seed} sink")
        self.lock = Lock()
        self.accepted: list[Mail] = []
        self.is_well = False

    def answer(self, command: str, usual: str) -> str:
        return self.trouble() or usual if command in ("RCPT", "DATA") else usual

    def trouble(self) -> str:
        with self.lock:
            drawn = 1.0 if self.is_well else self.chance.random()
        if drawn < REFUSED_SHARE:
            return "451 try again later"
        return HANG_UP if drawn < REFUSED_SHARE + HUNG_UP_SHARE else ""

    def take(self, sender: str, recipients: list[str], message: EmailMessage) -> str:
        if trouble := self.trouble():
            return trouble
        with self.lock:
            event = str(message["X-TMService-Event"])
            self.accepted += [Mail(str(message["Message-ID"]), to, event) for to in recipients]
            pause_seconds = self.chance.uniform(0, MAX_ANSWER_SECONDS)
        time.sleep(pause_seconds)
        return "250 taken"
