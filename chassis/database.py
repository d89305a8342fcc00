"""How long a process waits for the database: neither for a slow statement nor for a silent server without end."""

import select
import time
from functools import partial
from typing import Any

import psycopg2
from django.db import connection
from psycopg2.extensions import POLL_OK, POLL_READ, STATUS_SETUP, set_wait_callback

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 0.5  # more than a statement may take: the server's own refusal is the better one


def give_up_after(*, seconds: float) -> None:
    """Limit every statement of this process, from its next connection on.

    The server ends what takes longer. If the server is silent, which no timeout of its own helps against, it is given
    up: libpq would wait for hours.
    """
    options = connection.settings_dict["OPTIONS"]
    options["options"] = f"{options.get('options', '')} -c statement_timeout={int(seconds * 1000)}"
    set_wait_callback(partial(wait, seconds=seconds + ANSWER_SECONDS))


def wait(connection: Any, *, seconds: float) -> None:
    """Wait until the connection has an answer, or raise OperationalError, upon which psycopg2 closes it."""
    limit = CONNECT_SECONDS if connection.status == STATUS_SETUP else seconds
    deadline = time.monotonic() + limit
    while (state := connection.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise psycopg2.OperationalError(f"the database has been silent for {limit} s")
