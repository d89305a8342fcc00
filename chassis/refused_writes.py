"""The time of the last write that the database rejected, shared by all processes of a web server.

The master of the web server imports this module before it forks the workers, so that they share its memory.
"""

import math
import mmap
import struct
import time

from psycopg2.errors import DiskFull, ReadOnlySqlTransaction

CAUSES = (DiskFull, ReadOnlySqlTransaction)
INSTANT = struct.Struct("d")
MEMORY = mmap.mmap(-1, INSTANT.size)


def record() -> None:
    INSTANT.pack_into(MEMORY, 0, time.monotonic())


def age_seconds() -> float:
    """Return the time since the last rejected write; infinity if there was none."""
    (recorded_at,) = INSTANT.unpack_from(MEMORY)
    return time.monotonic() - recorded_at if recorded_at else math.inf
