"""Console output and error handling of the scripts."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

POLL_SECONDS = 0.02
T = TypeVar("T")


class StackError(Exception):
    """The command cannot continue. The message is one sentence for the user."""


def say(text: str = "") -> None:
    print(text, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print a step when it starts, and how long it took when it ends."""
    began = time.monotonic()
    print(f"{what} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


@contextmanager
def exit_on_error(name: str, *errors: type[Exception], stopped: str = "Stopped.") -> Iterator[None]:
    """Exit scripts/NAME with a message if the block fails or is interrupted."""
    known: tuple[type[Exception], ...] = (StackError, *errors)
    try:
        yield
    except known as error:
        sys.exit(f"scripts/{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\n{stopped}")


def wait_until(find: Callable[[], T | None], *, seconds: float, message: str) -> T:
    """Return the first truthy result; raise StackError on timeout."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > deadline:
            raise StackError(message)
        time.sleep(POLL_SECONDS)
    return found


def check_output(argv: list[str], *, message: Callable[[str], str] = str.strip, **options: Any) -> str:
    """Return the output of a program. If it fails, raise StackError with message(standard error)."""
    options = {"stdin": subprocess.DEVNULL} | options
    done = subprocess.run(argv, check=False, capture_output=True, text=True, **options)
    if done.returncode:
        raise StackError(message(done.stderr))
    return done.stdout
