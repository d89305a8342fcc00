from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import testserver


class Command(testserver.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError(
            "This service does not support fixtures; scripts/run --demo starts a stack with sample data."
        )
