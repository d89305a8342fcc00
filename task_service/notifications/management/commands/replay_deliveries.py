from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from chassis.database import long_statements
from chassis.printable import printable
from notifications.models import Delivery


class Command(BaseCommand):
    help = "Requeue dead-lettered deliveries, each with another day to succeed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--channel", choices=settings.NOTIFICATION_CHANNELS, help="only deliveries over this channel"
        )
        parser.add_argument("--task", type=int, metavar="ID", help="only deliveries about this task")
        parser.add_argument("--dry-run", action="store_true", help="list what would be replayed, without replaying it")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = {"channel": options["channel"], "event__task_id": options["task"]}
        failed = Delivery.objects.filter(
            state=Delivery.State.FAILED, **{name: value for name, value in chosen.items() if value is not None}
        )
        if options["dry_run"]:
            for delivery in failed.select_related("event").order_by("pk"):
                to = f" to user {delivery.recipient_id}" if delivery.recipient_id else ""
                line = f"{delivery}: {delivery.event} by {delivery.channel}{to}: {delivery.reason}"
                self.stdout.write(printable(line))
            self.stdout.write(f"Would replay {failed.count()} deliveries that have failed.")
            return
        with long_statements():
            replayed = failed.replay()
        self.stdout.write(f"Replayed {replayed} deliveries that had failed.")
