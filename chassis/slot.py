"""A slot that one process of a machine's service can take."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class Slot:
    """A lock between forked workers; it ends with the process that holds it. Make it before they are forked.

    It is a POSIX record lock: these belong to a process, so workers that share the open file still exclude each other.
    """

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open as long as the service runs

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Yield whether the slot was free; it is taken until the end of the block."""
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self.file, fcntl.LOCK_UN)
