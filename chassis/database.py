"""Waiting for the database: for a limited time only, and for locks that belong to this service alone."""

import select
import time
from functools import partial
from typing import Any

import psycopg2
from django.db import connection, models
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


def lock_table(model: type[models.Model]) -> None:
    """Let one transaction at a time go on from here, until it ends. Reading the table goes on meanwhile.

    Not an advisory lock: every role of the database could take that too, and hold it for as long as it likes.
    """
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
