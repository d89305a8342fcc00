from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chassis.ops.checks import MAX_HEARTBEAT_AGE_SECONDS, is_worker_alive


class Command(BaseCommand):
    help = "Exit with an error if no worker of this service was active in the last minute. For container health checks."

    def handle(self, *args: Any, **options: Any) -> None:
        if not is_worker_alive():
            raise CommandError(f"No worker was active in the last {MAX_HEARTBEAT_AGE_SECONDS} seconds.")
