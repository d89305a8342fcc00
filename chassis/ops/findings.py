"""What a check finds, and the doctor's line for it. For scripts too, which have no Django settings."""

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from chassis.printable import printable

# At 5 s and more requests are refused as overdue: see chassis.api.middleware.
UNSURE_CLOCK_SECONDS, WRONG_CLOCK_SECONDS = 2, 5
UNITS = (("days", 24 * 3600), ("hours", 3600), ("minutes", 60))


class State(StrEnum):
    OK = "ok"
    WRONG = "WRONG"
    UNSURE = "unsure"  # it cannot be told, or only a person can tell whether it is meant so


class Gauge(NamedTuple):
    name: str  # with its unit
    description: str
    value: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, in a sentence that says what to do unless the state is OK; and as numbers for metrics."""

    state: State
    text: str
    gauges: tuple[Gauge, ...] = ()

    def line(self, name: str) -> str:
        return f"{self.state:<7} {name:<11} {printable(' '.join(self.text.split()))}"


ok, wrong, unsure = (partial(Finding, state) for state in State)


def manage(command: str) -> str:
    """Return what a person types to run a command of this service; scripts/run sets how it is done there."""
    return f"{os.environ.get('MANAGE_COMMAND', 'manage.py')} {command}"


def clock(seconds_apart: float, *, whose: str, gauges: tuple[Gauge, ...] = ()) -> Finding:
    text = f"this machine's clock and {whose} are {seconds_apart:.1f} s apart"
    if seconds_apart <= UNSURE_CLOCK_SECONDS:
        return ok(text, gauges)
    state = State.WRONG if seconds_apart > WRONG_CLOCK_SECONDS else State.UNSURE
    return Finding(state, f"{text}; let each follow a time server", gauges)


def duration(seconds: float) -> str:
    """Return a time as a person would tell it, such as "12 s" or "3 hours"."""
    for name, length in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"
