"""What a person sees while the stack starts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StackError(Exception):
    """It cannot go on. The text is one sentence for the person who typed the command."""


Refused = StackError  # the name that stack.postman uses


def say(text: str = "") -> None:
    print(text, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Tell what takes time when it begins, and how long it took when it is done."""
    began = time.monotonic()
    print(f"{what} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)
