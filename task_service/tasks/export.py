"""Tasks as CSV (RFC 4180), a piece at a time, safe to open in a spreadsheet."""

import csv
from collections.abc import Iterator
from io import StringIO
from itertools import chain, islice
from typing import Any

from django.db import transaction

from tasks.models import Task, TaskQuerySet

ROWS_A_PIECE = 500
COLUMNS = (
    *("id", "title", "description", "status", "priority", "due_date", "is_overdue", "assigned_to", "assignee"),
    *("created_by", "created_at", "updated_at", "completed_at", "version"),
)
# A cell that begins with one of these is a formula to spreadsheets (OWASP, CSV Injection).
FORMULA_SIGNS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def pieces(tasks: TaskQuerySet) -> Iterator[str]:
    """Yield the header with the first rows, then the others. The tasks come with their assignee's name."""
    with transaction.atomic():  # so that the cursor need not outlive a statement, and PostgreSQL need not copy it all
        rows = map(row, tasks.iterator(chunk_size=ROWS_A_PIECE))
        piece = [COLUMNS, *islice(rows, ROWS_A_PIECE)]
        while piece:
            yield as_csv(piece)
            piece = list(islice(rows, ROWS_A_PIECE))


def begun(pieces: Iterator[str]) -> Iterator[str]:
    """Wait for the first piece, so that what goes wrong with it can still become an error answer."""
    return chain([next(pieces)], pieces)


def as_csv(rows: list[Any]) -> str:
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def row(task: Task) -> list[Any]:
    return [
        task.pk,
        harmless(task.title),
        harmless(task.description),
        task.status,
        task.get_priority_display(),
        task.due_date,
        str(task.is_overdue).lower(),
        task.assigned_to_id,
        harmless(task.assignee_name),
        task.created_by,
        instant(task.created_at),
        instant(task.updated_at),
        instant(task.completed_at),
        task.version,
    ]


def instant(value: Any) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None


def harmless(text: str | None) -> str | None:
    """Return a text that no spreadsheet takes for a formula: an apostrophe goes in front of one."""
    return f"'{text}" if text and text.lstrip(" ").startswith(FORMULA_SIGNS) else text
