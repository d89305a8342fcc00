from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chassis.models import Heartbeat

LONGEST_SILENCE_SECONDS = 60


class Command(BaseCommand):
    help = "Fail where no worker of this service has been at work within a minute. For health checks of containers."

    def handle(self, *args: Any, **options: Any) -> None:
        age = Heartbeat.objects.age_seconds()
        if not age < LONGEST_SILENCE_SECONDS:  # nor where it is not a number: there never was one
            raise CommandError(f"No worker has been at work within {LONGEST_SILENCE_SECONDS} seconds.")
