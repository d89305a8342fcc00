from typing import Any

from django.core.management import call_command

from chassis.management.commands import prepare
from chassis.ops import env


class Command(prepare.Command):
    help = f"{prepare.Command.help} Then create the first admin, if ADMIN_PASSWORD is set."

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if env.text("ADMIN_PASSWORD", ""):
            call_command("ensure_admin", stdout=self.stdout)
