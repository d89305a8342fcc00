"""Limits on waiting for the database, and table locks that other roles cannot take."""

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
STATEMENT_SECONDS = 60  # for a background job
GRACE_SECONDS = 0.5  # on top of the statement timeout, so that the server's own error comes first


def limit_waits(*, seconds: float) -> None:
    """Limit how long this process waits for an unresponsive server; libpq would wait for hours.

    The server itself cancels statements that exceed the limits of the role (chassis.time_limits). No limit is set on
    the connection, because a pooler such as PgBouncer shares its server connections among clients.
    """
    set_wait_callback(partial(wait, seconds=seconds + GRACE_SECONDS))


def wait(connection: Any, *, seconds: float) -> None:
    """Wait for a response on the connection, or raise OperationalError, which makes psycopg2 close it."""
    limit = CONNECT_SECONDS if connection.status == STATUS_SETUP else seconds
    deadline = time.monotonic() + limit
    while (state := connection.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise psycopg2.OperationalError(f"the database did not respond for {limit} s")


@contextmanager
def long_statements() -> Iterator[None]:
    """Open a transaction whose statements may take a minute, for jobs and commands."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        yield


def lock_table(model: type[models.Model]) -> None:
    """Serialize transactions from here to their end. The table stays readable.

    This is not an advisory lock because any role of the database could take and hold that.
    """
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
