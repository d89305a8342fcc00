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


def note() -> None:
    INSTANT.pack_into(MEMORY, 0, time.monotonic())


def age_seconds() -> float:
    """Return how long ago that was; infinity if it never was."""
    (noted_at,) = INSTANT.unpack_from(MEMORY)
    return time.monotonic() - noted_at if noted_at else math.inf
