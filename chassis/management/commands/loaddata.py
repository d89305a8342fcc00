from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import loaddata


class Command(loaddata.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError(
            "Fixtures would bypass side effects of changes, such as ending sessions and writing history; "
            "use the API, or scripts/restore for a backup."
        )
