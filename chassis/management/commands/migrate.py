from typing import Any

from django.core.management.commands import migrate
from django.db import OperationalError, connection

from chassis.ops import roles


class Command(migrate.Command):
    help = (
        f"{migrate.Command.help} Connects as the owner of the schema, and grants the serving role its rights and sets "
        "its time limits."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with roles.as_owner() as serving:
                if serving:
                    roles.grant(serving)
                super().handle(*args, **options)
                if serving:
                    roles.grant(serving)
        except OperationalError as error:
            roles.reject_pooler(error)
            raise
        roles.set_time_limits()
        connection.close()  # later statements need a connection with these limits
