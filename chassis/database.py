"""Waiting for the database: for a limited time only, and for locks that belong to this service alone."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2
from django.db import connection, models, transaction
from psycopg2.extensions import POLL_OK, POLL_READ, STATUS_SETUP, set_wait_callback

CONNECT_SECONDS = 2.0
STATEMENT_SECONDS = 60  # of a background job
GRACE_SECONDS = 0.5  # more than a statement may take: the server's own refusal is the better one


def limit_waits(*, seconds: float) -> None:
    """Stop waiting for a server that is silent, in this process: libpq would wait for hours.

    The server itself ends what takes longer than the role may (chassis.time_limits). Nothing is set for the
    connection: a pooler such as PgBouncer gives its server connections to one client after the other.
    """
    set_wait_callback(partial(wait, seconds=seconds + GRACE_SECONDS))


def wait(connection: Any, *, seconds: float) -> None:
    """Wait until the connection has an answer, or raise OperationalError, upon which psycopg2 closes it."""
    limit = CONNECT_SECONDS if connection.status == STATUS_SETUP else seconds
    deadline = time.monotonic() + limit
    while (state := connection.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise psycopg2.OperationalError(f"the database has been silent for {limit} s")


@contextmanager
def long_statements() -> Iterator[None]:
    """A transaction whose statements may take a minute instead of what the role allows, for jobs and commands."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        yield


def lock_table(model: type[models.Model]) -> None:
    """Let one transaction at a time go on from here, until it ends. Reading the table goes on meanwhile.

    Not an advisory lock: every role of the database could take that too, and hold it for as long as it likes.
    """
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
