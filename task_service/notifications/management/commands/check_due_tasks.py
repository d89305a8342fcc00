from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from notifications.reminders import REMINDERS, remind


class Command(BaseCommand):
    help = "Plan the reminders of tasks that are due soon or overdue, each once. For cron: 0 8 * * *"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would be planned, without planning it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            soon, overdue = (reminder.waiting().count() for reminder in REMINDERS)
            self.stdout.write(f"Would remind of {soon} tasks that are due soon and {overdue} that are overdue.")
            return
        soon, overdue = remind().values()
        self.stdout.write(f"Reminded of {soon} tasks that are due soon and {overdue} that are overdue.")
