from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chassis.ops.checks import MAX_HEARTBEAT_AGE_SECONDS, is_worker_alive


class Command(BaseCommand):
    help = "Fail where no worker of this service has been at work within a minute. For health checks of containers."

    def handle(self, *args: Any, **options: Any) -> None:
        if not is_worker_alive():
            raise CommandError(f"No worker has been at work within {MAX_HEARTBEAT_AGE_SECONDS} seconds.")
