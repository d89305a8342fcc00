"""Findings of checks, as lines of the doctor. Also used by scripts, so no Django settings are needed."""

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from chassis.printable import printable

# From 5 s on, requests are rejected as overdue: see chassis.api.middleware.
UNSURE_CLOCK_SECONDS, WRONG_CLOCK_SECONDS = 2, 5
UNITS = (("days", 24 * 3600), ("hours", 3600), ("minutes", 60))


class State(StrEnum):
    OK = "ok"
    WRONG = "WRONG"
    UNSURE = "unsure"  # unknown, or only a person can decide


class Gauge(NamedTuple):
    name: str  # with its unit
    description: str
    value: float


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: a sentence that says what to do unless the state is OK, and numbers for metrics."""

    state: State
    text: str
    gauges: tuple[Gauge, ...] = ()

    def line(self, name: str) -> str:
        return f"{self.state:<7} {name:<11} {printable(' '.join(self.text.split()))}"


ok, wrong, unsure = (partial(Finding, state) for state in State)


def manage_command(command: str) -> str:
    """Return the shell command that runs a command of this service; scripts/run sets MANAGE_COMMAND."""
    return f"{os.environ.get('MANAGE_COMMAND', 'manage.py')} {command}"


def clock(seconds_apart: float, *, whose: str, gauges: tuple[Gauge, ...] = ()) -> Finding:
    text = f"this machine's clock and {whose} differ by {seconds_apart:.1f} s"
    if seconds_apart <= UNSURE_CLOCK_SECONDS:
        return ok(text, gauges)
    state = State.WRONG if seconds_apart > WRONG_CLOCK_SECONDS else State.UNSURE
    return Finding(state, f"{text}; synchronize both with a time server", gauges)


def duration(seconds: float) -> str:
    """Format a duration for people, such as "12 s" or "3 hours"."""
    for name, length in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"
