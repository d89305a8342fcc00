"""One fault under load: a function gets a Trial, injects the fault, and returns a short summary."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from tests.lab.client import Answer, Client
from tests.lab.judge import Demands
from tests.lab.load import USERS, Load
from tests.lab.scene import Scene

MAX_PAUSE_SECONDS = 0.5


@dataclass
class Trial:
    """`prober` is a signed-in client outside the load; `found` collects the problems it sees."""

    scene: Scene
    load: Load
    prober: Client
    rng: random.Random
    seconds: float
    is_long: bool
    patience: float = 1
    found: list[str] = field(default_factory=list)
    count: int = 0  # rounds started

    def rounds(self, *, at_least: int = 1) -> Iterator[None]:
        """Yield rounds until time is up, each at a random time after everything is served."""
        until = time.monotonic() + self.seconds
        while self.count < at_least or time.monotonic() < until:
            self.load.wait_until_served()
            time.sleep(self.rng.uniform(0, MAX_PAUSE_SECONDS))
            self.count += 1
            yield

    def expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self.found.append(problem)

    def expect_success(self, answer: Answer, what: str) -> None:
        self.expect(answer.ok, f"{what} got {answer.status} {answer.code}")


@dataclass(frozen=True, slots=True)
class Fault:
    """`around` prepares the stack before the load begins."""

    name: str
    inject: Callable[[Trial], str]
    demands: Demands
    around: Callable[[Scene], AbstractContextManager[object]] = nullcontext
    users: int = USERS
    pause_seconds: float = 0.01  # per user, on average
    refresh_seconds: float = 120
