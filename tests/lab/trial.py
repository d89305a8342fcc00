"""One fault under load: the function that injects it gets a Trial, and says in a few words what it has done."""

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
    """`prober` is signed in and not one of the load; what its requests show to be wrong goes into `found`."""

    scene: Scene
    load: Load
    prober: Client
    chance: random.Random
    seconds: float
    is_long: bool
    found: list[str] = field(default_factory=list)
    count: int = 0  # of rounds that have begun

    def rounds(self, *, at_least: int = 1) -> Iterator[None]:
        """Go on until time is up, each round at a random instant once everything is served."""
        until = time.monotonic() + self.seconds
        while self.count < at_least or time.monotonic() < until:
            self.load.wait_until_served()
            time.sleep(self.chance.uniform(0, MAX_PAUSE_SECONDS))
            self.count += 1
            yield

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.found.append(otherwise)

    def expect_success(self, answer: Answer, what: str) -> None:
        self.expect(answer.ok, f"{what} got {answer.status} {answer.code}")


@dataclass(frozen=True, slots=True)
class Fault:
    """`around` is what has to be changed of the stack before the load begins."""

    name: str
    inject: Callable[[Trial], str]
    demands: Demands
    around: Callable[[Scene], AbstractContextManager[object]] = nullcontext
    users: int = USERS
    pause_seconds: float = 0.01  # of each user, on average
    refresh_seconds: float = 120
