from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.management.admins import create_admin
from accounts.models import NameTaken, User
from chassis.ops import env, settings


class Command(BaseCommand):
    help = "Create the first admin from ADMIN_USERNAME, ADMIN_EMAIL and ADMIN_PASSWORD, unless an active admin exists."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="create nothing; print whether an active admin has ADMIN_USERNAME and ADMIN_PASSWORD",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            name = settings.admin_username()
            is_current = User.objects.is_admin_password(name, env.text("ADMIN_PASSWORD"))
            self.stdout.write("current" if is_current else "not current")
            return
        if admin := User.objects.active_admins().first():
            self.stdout.write(f"An active admin exists: {admin.username}.")
            return
        values = {
            "username": settings.admin_username(),
            "email": env.text("ADMIN_EMAIL", "admin@tmservice.invalid"),
            "password": env.text("ADMIN_PASSWORD"),
        }
        try:
            user = create_admin(values, label=lambda field: f"ADMIN_{field.upper()}")
        except NameTaken as error:
            if User.objects.active_admins().exists():  # created by another run at the same moment
                return
            raise CommandError(
                f"ADMIN_{error.field.upper()} belongs to an account that is not an active admin."
            ) from error
        self.stdout.write(f"Created the admin {user.username}.")
