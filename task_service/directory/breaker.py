"""A circuit breaker: after repeated failures, calls fail at once, except for one trial call per pause."""

import time
from dataclasses import dataclass, field
from threading import Lock


@dataclass(slots=True)
class Breaker:
    """Opens after `max_failures` in a row. Every `pause_seconds` one call passes; a success closes it."""

    max_failures: int
    pause_seconds: float
    failures: int = 0
    next_try_at: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def allows_call(self) -> bool:
        with self.lock:
            now = time.monotonic()
            if self.failures >= self.max_failures and now < self.next_try_at:
                return False
            self.next_try_at = now + self.pause_seconds
            return True

    def record_success(self) -> None:
        with self.lock:
            self.failures = 0

    def record_failure(self) -> None:
        with self.lock:
            self.failures += 1
            if self.failures == self.max_failures:
                self.next_try_at = time.monotonic() + self.pause_seconds
