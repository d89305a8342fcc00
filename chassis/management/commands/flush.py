from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import flush


class Command(flush.Command):
    help = f"{flush.Command.help} The database rejects it if there is append-only history."

    def handle(self, **options: Any) -> None:
        try:
            super().handle(**options)
        except CommandError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise CommandError(
                f"The database cannot be emptied: {reason}; see docs/operations.md for how to start over."
            ) from error
