from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chassis.database import long_statements
from directory.client import DirectoryUnavailable
from directory.reconciliation import Differences
from tasks.models import Task


class Command(BaseCommand):
    help = (
        "Rebuild the directory from the beginning of the user service's feed, after a restore of its database. Accounts"
        " missing there are marked as deleted, and their tasks are unassigned."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show the differences without applying them")

    def handle(self, *args: Any, **options: Any) -> None:
        with long_statements():
            assignees = set(Task.objects.exclude(assigned_to=None).values_list("assigned_to", flat=True).distinct())
        try:
            found = Differences.find(required_ids=assignees)
        except DirectoryUnavailable as error:
            raise CommandError("The user service gave no valid response; nothing was changed.") from error
        self.report(found)
        has, is_ = ("would have", "be") if options["dry_run"] else ("has", "is")
        if not options["dry_run"]:
            found.apply()
        count = f"{len(found.people)} accounts (including deleted ones)"
        self.stdout.write(f"The directory {has} {count} and {is_} at position {found.position} of the feed.")

    def report(self, found: Differences) -> None:
        for user_id, name in found.gone:
            self.stdout.write(f"user {user_id} ({name}): deleted; {self.assigned(user_id)}")
        for user_id, name in found.returned:
            self.stdout.write(f"user {user_id} ({name}): restored")
        for user_id, name, name_there in found.renamed:
            self.stdout.write(f"user {user_id} ({name}): renamed to {name_there}")
        for user_id in found.orphans:
            self.stdout.write(f"user {user_id}: does not exist; {self.assigned(user_id)}")

    def assigned(self, user_id: int) -> str:
        tasks = Task.objects.filter(assigned_to=user_id).order_by("pk").values_list("pk", flat=True)
        return f"tasks to unassign: {', '.join(map(str, tasks))}" if tasks else "no tasks"
