"""Constraints of the database, which hold without the API too."""

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from tasks.models import Task

pytestmark = pytest.mark.django_db

IMPOSSIBLE = [
    ({"title": ""}, "title_is_not_empty"),
    ({"description": "x" * 50_001}, "description_is_not_too_long"),
    *(({"status": value}, "status_is_known") for value in ("done", "", "Completed")),
    *(({"priority": value}, "priority_is_known") for value in (0, 5)),
    *(({"due_date": value}, "due_date_is_in_this_century") for value in ("1999-12-31", "2101-01-01")),
    ({"status": "completed"}, "completed_at_goes_with_completed"),
    ({"completed_at": timezone.now()}, "completed_at_goes_with_completed"),
    ({"status": "in_progress", "completed_at": timezone.now()}, "completed_at_goes_with_completed"),
]


@pytest.mark.parametrize(("values", "constraint"), IMPOSSIBLE)
def test_no_statement_can_store_an_invalid_task(create_task, values, constraint):
    create_task()

    with pytest.raises(IntegrityError, match=constraint):
        Task.objects.update(**values)


@pytest.mark.parametrize(
    "column", ["title", "description", "status", "priority", "created_by", "created_at", "version"]
)
def test_sql_cannot_omit_required_columns(create_task, column):
    create_task()

    with pytest.raises(IntegrityError, match=column), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE tasks_task SET {column} = NULL")


def test_lengths_are_counted_in_characters(create_task):
    create_task(title="\U0001f331" * 200, description="\U0001f331" * 50_000)

    with pytest.raises(DataError):
        Task.objects.update(title="\U0001f331" * 201)


def test_a_change_returns_what_it_stores(create_task):
    for status in ("todo", "todo", "completed", "completed"):
        task = create_task(status=status)
        for version in range(task.pk % 3):
            Task.objects.filter(pk=task.pk).change(by_id=101, title=f"Weed {version}")

    changed = Task.objects.all().change(by_id=101, status="completed", title="Water", priority=4, assigned_to_id=102)

    stored = {row.pop("id"): row for row in Task.objects.values()}
    assert len({task.version for task in changed}) > 1 < len({task.completed_at for task in changed})
    assert {task.pk: {name: getattr(task, name) for name in stored[task.pk]} for task in changed} == stored
