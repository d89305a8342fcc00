"""The database wrapper that Django loads for the engine chassis.postgresql."""

import select
from typing import cast

from django.db.backends.postgresql import base
from django.utils.functional import cached_property
from psycopg2.extensions import TRANSACTION_STATUS_INERROR


class DatabaseWrapper(base.DatabaseWrapper):
    prepared: dict[str, str]  # the names of the statements that chassis.prepared has prepared on this connection

    def init_connection_state(self) -> None:
        super().init_connection_state()
        self.prepared = {}
        self.__dict__.pop("is_direct", None)

    @cached_property
    def is_direct(self) -> bool:
        """Return whether the server process is this connection's own: a pooler makes up the process id it reports."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return bool(cursor.fetchone() == (self.connection.info.backend_pid,))

    def is_usable(self) -> bool:
        """Return whether the connection is open and accepts statements, without a statement.

        An idle connection has nothing to read. If it has, the server has closed it or announced that it will. A server
        that vanished without closing it is found by the next statement, which CONN_HEALTH_CHECKS could not prevent.
        """
        if self.connection.closed or self.connection.info.transaction_status == TRANSACTION_STATUS_INERROR:
            return False
        poller = select.poll()
        poller.register(cast("int", self.connection.fileno()), select.POLLIN)
        return not poller.poll(0)
