import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError, connection

from chassis.ops import roles

# Creating a table without committing is a lock, because names are unique. Only roles that may create tables in this
# schema can take it, and it is released with the connection.
LOCK = "CREATE TABLE chassis_prepare_lock ()"
MAX_WAIT_SECONDS = 300
PAUSE_SECONDS = 0.5


class Command(BaseCommand):
    help = (
        "Migrate the database. If several processes start at once, one migrates and the others wait. Also waits for a "
        "database that is still starting."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with self.locked():
            call_command("migrate", verbosity=0)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock in a transaction on a second connection."""
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        with roles.as_owner():
            second: Any = connection.copy()
        try:
            while not self.is_locked(second):
                if time.monotonic() > deadline:
                    raise CommandError("The database cannot be reached, or another migration is still running.")
                time.sleep(PAUSE_SECONDS)
            yield
        finally:
            second.close()

    def is_locked(self, second: Any) -> bool:
        try:
            second.set_autocommit(False)
            with second.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                cursor.execute(LOCK)
        except OperationalError as error:  # unreachable, or the lock was not released within lock_timeout
            roles.reject_pooler(error)
            self.stderr.write(f"Waiting for the database: {error}".strip())
            second.close()
            return False
        except ProgrammingError as error:
            raise CommandError(
                f"This role cannot migrate: {str(error).splitlines()[0]}; set OWNER_DATABASE_URL."
            ) from error
        return True
