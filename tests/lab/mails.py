"""A mail server that fails at random but never loses an accepted message."""

import random
import time
from dataclasses import dataclass
from email.message import EmailMessage
from threading import Lock

from chassis.testing.smtp_sink import HANG_UP, Sink

REJECTED_SHARE = HUNG_UP_SHARE = 0.02  # of the replies to RCPT, DATA and the end of the data
MAX_ANSWER_SECONDS = 0.02  # after accepting a message: a kill in between causes a copy


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """An accepted message: Message-ID, recipient and X-TMService-Event."""

    message_id: str
    to: str
    event: str


class FlakySink(Sink):
    """Accepts everything once `has_recovered` is set."""

    block_on_close = False

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(f"{seed} sink")
        self.lock = Lock()
        self.accepted: list[ReceivedMail] = []
        self.has_recovered = False

    def answer(self, command: str, usual: str) -> str:
        return self.random_failure() or usual if command in ("RCPT", "DATA") else usual

    def random_failure(self) -> str:
        with self.lock:
            drawn = 1.0 if self.has_recovered else self.rng.random()
        if drawn < REJECTED_SHARE:
            return "451 try again later"
        return HANG_UP if drawn < REJECTED_SHARE + HUNG_UP_SHARE else ""

    def take(self, sender: str, recipients: list[str], message: EmailMessage) -> str:
        if random_failure := self.random_failure():
            return random_failure
        with self.lock:
            event = str(message["X-TMService-Event"])
            self.accepted += [ReceivedMail(str(message["Message-ID"]), to, event) for to in recipients]
            pause_seconds = self.rng.uniform(0, MAX_ANSWER_SECONDS)
        time.sleep(pause_seconds)
        return "250 taken"
