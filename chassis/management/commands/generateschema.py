from typing import Any

from django.core.management.base import CommandError
from rest_framework.management.commands import generateschema


class Command(generateschema.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError("This service has its own OpenAPI document; write it with generate_swagger.")
