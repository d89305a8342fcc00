"""The database wrapper that Django loads for the engine chassis.postgresql."""

import select
from typing import cast

from django.db.backends.postgresql import base
from psycopg2.extensions import TRANSACTION_STATUS_INERROR


class DatabaseWrapper(base.DatabaseWrapper):
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
