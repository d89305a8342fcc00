from typing import Any

from django.core.management.commands import migrate

from chassis import roles


class Command(migrate.Command):
    help = f"{migrate.Command.help} Connects as the owner of the schema, and gives the role that serves its rights."

    def handle(self, *args: Any, **options: Any) -> None:
        with roles.as_owner() as serving:
            if serving:
                roles.grant(serving)
            super().handle(*args, **options)
            if serving:
                roles.grant(serving)
