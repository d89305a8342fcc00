"""Kills processes of the task service with SIGKILL, each when it is back at work after the time before."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

import psutil

from stack import orphans
from stack.console import StackError
from stack.state import State

BACK_WITHIN_SECONDS = 60
WORKER, WEB = "task-worker", "task-service"
TURNS = (WORKER, WEB, WEB)  # while the one comes back the other is killed
LONGEST_PAUSE_SECONDS = {WORKER: 1.0, WEB: 0.5}
MASTER_SHARE = 0.2  # of the kills of the web server; the others are of one of its processes


class Killer:
    """`done` tells how much each has done so far: it is back when that has grown since it was killed."""

    def __init__(self, state: State, *, seed: int, done: Mapping[str, Callable[[], int]]) -> None:
        self.state, self.done = state, done
        self.done_before = {WORKER: 0, WEB: 0}
        self.chance = random.Random(f"{seed} killer")
        self.kills: Counter[str] = Counter()

    def kill(self) -> str:
        """Kill one of the two at a random instant and return which."""
        name = TURNS[self.kills.total() % len(TURNS)]
        victim = self.once_back(name)
        time.sleep(self.chance.uniform(0, LONGEST_PAUSE_SECONDS[name]))
        if name == WEB and self.chance.random() > MASTER_SHARE:
            victim = self.chance.choice(victim.children() or [victim])
        victim.kill()
        orphans.wait_until_gone([victim], seconds=orphans.GONE_SECONDS)
        self.kills[name] += 1
        self.done_before[name] = self.done[name]()
        return name

    def once_back(self, name: str) -> psutil.Process:
        deadline = time.monotonic() + BACK_WITHIN_SECONDS
        while True:
            process = orphans.running(self.state, name)
            if process is not None and self.done[name]() > self.done_before[name]:
                return process
            if time.monotonic() > deadline:
                raise StackError(f"{name} is not back at work {BACK_WITHIN_SECONDS} s after it was killed.")
            time.sleep(0.02)
