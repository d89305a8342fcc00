import time
from typing import Any

from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from chassis import env

LOCK = 7_466_111  # any number, the same for all who prepare this schema
LONGEST_WAIT_SECONDS = 300
PAUSE_SECONDS = 0.5


class Command(BaseCommand):
    help = (
        "Migrate the database and make the first admin (ADMIN_USERNAME, ADMIN_EMAIL, ADMIN_PASSWORD). Of several that "
        "start at once one does it and the others wait. A database that is still starting is waited for."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while not self.is_locked():
            if time.monotonic() > deadline:
                raise CommandError("The database cannot be reached, or another migration does not end.")
            time.sleep(PAUSE_SECONDS)
        call_command("migrate", verbosity=0)
        if "ensure_admin" in get_commands() and env.text("ADMIN_PASSWORD", ""):
            call_command("ensure_admin", stdout=self.stdout)

    def is_locked(self) -> bool:
        """Take the lock of this schema if it is free; it lasts as long as the connection."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", [LOCK])
                (locked,) = cursor.fetchone()
        except OperationalError as error:
            self.stderr.write(f"The database is not there yet: {error}".strip())
            connection.close()
            return False
        return bool(locked)
