import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher

NICENESS = 10  # added to that of the process
T = TypeVar("T")


class SmallArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with 19 MiB, 2 passes, 1 lane, as OWASP recommends. Django's 100 MiB are too much for a small server."""

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        return at_low_priority(super().encode, password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        return at_low_priority(super().verify, password, encoded)


def at_low_priority(compute: Callable[[str, str], T], *texts: str) -> T:
    """Compute in a thread that yields the processor to other requests. A thread cannot raise its priority again."""
    with ThreadPoolExecutor(1, initializer=lower_priority) as thread:
        return thread.submit(compute, *texts).result()


def lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere it would lower the whole process
        os.nice(NICENESS)
