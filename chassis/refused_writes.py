"""When the database last refused to store anything, which all processes of one web server know.

The web server's master imports this module before it forks them, so that they share its memory.
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
    """Return how long ago that was; infinity if it never was."""
    (recorded_at,) = INSTANT.unpack_from(MEMORY)
    return time.monotonic() - recorded_at if recorded_at else math.inf
