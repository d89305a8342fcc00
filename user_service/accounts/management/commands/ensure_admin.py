from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.management.admins import create_admin
from accounts.models import NameTaken, User
from chassis.ops import env, settings


class Command(BaseCommand):
    help = "Make the first admin from ADMIN_USERNAME, ADMIN_EMAIL and ADMIN_PASSWORD, unless there is an active admin."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="make nothing; tell whether an admin has ADMIN_USERNAME and ADMIN_PASSWORD",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            name = settings.admin_username()
            opens = User.objects.is_admin_password(name, env.text("ADMIN_PASSWORD"))
            self.stdout.write("current" if opens else "not current")
            return
        if admin := User.objects.active_admins().first():
            self.stdout.write(f"There is an admin already: {admin.username}.")
            return
        values = {
            "username": settings.admin_username(),
            "email": env.text("ADMIN_EMAIL", "admin@tmservice.invalid"),
            "password": env.text("ADMIN_PASSWORD"),
        }
        try:
            user = create_admin(values, label=lambda field: f"ADMIN_{field.upper()}")
        except NameTaken as error:
            if User.objects.active_admins().exists():  # made by another run at the same instant
                return
            raise CommandError(
                f"ADMIN_{error.field.upper()} is that of an account which is no active admin."
            ) from error
        self.stdout.write(f"Made the admin {user.username}.")
