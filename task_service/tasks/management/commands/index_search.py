from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tasks.indexing import index_all, index_missing
from tasks.models import Task


class Command(BaseCommand):
    help = "Index tasks for search: those that are not indexed yet, as the worker does, or all of them again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="index all tasks again")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["all"]:
            total = Task.objects.count()
            for done in index_all():
                self.stdout.write(f"{done} of {total} tasks indexed.")
        while index_missing():
            self.stdout.write(f"{Task.objects.not_indexed().count()} tasks are left to index.")
        self.stdout.write("All tasks are indexed.")
