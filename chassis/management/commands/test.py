from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import test


class Command(test.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError("The tests need pytest; run scripts/test.")
