"""Threads that work until a block ends."""

from threading import Event, Thread
from typing import Self


class Threads:
    """`threads` run while the block does, and end soon after `stopping` is set."""

    threads: list[Thread]
    stopping: Event

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
