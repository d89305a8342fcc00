from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string


class Command(BaseCommand):
    help = "Write the OpenAPI document that this service serves. Replaces drf-yasg's command."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("output_file", nargs="?", default="-", help="a file, or - for standard output")
        parser.add_argument("-o", "--overwrite", action="store_true", help="replace the file if it exists")
        parser.add_argument("-f", "--format", choices=["json", "yaml"], help="default: from the file name")

    def handle(self, *args: Any, output_file: str, overwrite: bool, **options: Any) -> None:
        documentation = import_string(settings.OPENAPI_DOCUMENTATION)
        is_yaml = (options["format"] or Path(output_file).suffix.lstrip(".")) in ("yaml", "yml")
        document: bytes = documentation.yaml if is_yaml else documentation.json
        if output_file == "-":
            self.stdout.write(document.decode())
            return
        try:
            with Path(output_file).open("wb" if overwrite else "xb") as file:
                file.write(document)
        except OSError as error:
            raise CommandError(f"{output_file} cannot be written: {error.strerror}.") from error
