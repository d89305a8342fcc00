from getpass import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.management.admins import create_admin
from accounts.models import NameTaken
from chassis.ops import env

FIELDS = ("username", "email", "password")


class Command(BaseCommand):
    help = (
        "Create an admin. Prompts for values that are neither options nor set in DJANGO_SUPERUSER_USERNAME, "
        "DJANGO_SUPERUSER_EMAIL and DJANGO_SUPERUSER_PASSWORD."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username")
        parser.add_argument("--email")
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="do not prompt")

    def handle(self, *args: Any, interactive: bool, **options: Any) -> None:
        values = {name: options.get(name) or env.raw_value(variable(name)) for name in FIELDS}
        for name in (name for name in FIELDS if not values[name]):
            if not interactive:
                raise CommandError(f"{variable(name)} is not set.")
            values[name] = prompt(name)
        try:
            admin = create_admin(values, label="The {}".format)
        except NameTaken as error:
            raise CommandError(f"Another account has this {error.field}.") from error
        self.stdout.write(f"Created the admin {admin.username}.")


def variable(field: str) -> str:
    return f"DJANGO_SUPERUSER_{field.upper()}"


def prompt(field: str) -> str:
    try:
        if field != "password":
            return input(f"{field.capitalize()}: ")
        password = getpass("Password: ")
        if getpass("Password (again): ") != password:
            raise CommandError("The two passwords differ.")
        return password
    except (EOFError, KeyboardInterrupt) as error:
        raise CommandError("No admin was created.") from error
