"""A circuit breaker: after some failures in a row nobody waits for the other side any more, but for one who tries."""

import time
from dataclasses import dataclass, field
from threading import Lock


@dataclass(slots=True)
class Breaker:
    """Open after `max_failures` in a row. Every `pause_seconds` one call is let through; one success closes it."""

    max_failures: int
    pause_seconds: float
    failures: int = 0
    next_try_at: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def lets_through(self) -> bool:
        with self.lock:
            now = time.monotonic()
            if self.failures >= self.max_failures and now < self.next_try_at:
                return False
            self.next_try_at = now + self.pause_seconds
            return True

    def succeeded(self) -> None:
        with self.lock:
            self.failures = 0

    def failed(self) -> None:
        with self.lock:
            self.failures += 1
            if self.failures == self.max_failures:
                self.next_try_at = time.monotonic() + self.pause_seconds
