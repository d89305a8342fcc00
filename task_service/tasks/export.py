"""Tasks as CSV (RFC 4180), a piece at a time, safe to open in a spreadsheet."""

import csv
from collections.abc import Generator, Iterator
from contextlib import closing
from io import StringIO
from itertools import islice
from typing import Any

from django.db import transaction

from chassis.fields import utc_text
from tasks.models import Task, TaskQuerySet

ROWS_A_PIECE = 500
COLUMNS = (
    *("id", "title", "description", "status", "priority", "due_date", "is_overdue", "assigned_to", "assignee"),
    *("created_by", "created_at", "updated_at", "completed_at", "version"),
)
# A cell that begins with one of these is a formula to spreadsheets (OWASP, CSV Injection).
FORMULA_SIGNS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def pieces(tasks: TaskQuerySet) -> Generator[str, None, None]:
    """Yield the header with the first rows, then the others. The tasks come with their assignee's name."""
    found: Any = tasks.iterator(chunk_size=ROWS_A_PIECE)
    # In a transaction PostgreSQL need not copy all rows before the first is out.
    with transaction.atomic(), closing(found):
        rows = map(row, found)
        piece = [COLUMNS, *islice(rows, ROWS_A_PIECE)]
        while piece:
            yield as_csv(piece)
            piece = list(islice(rows, ROWS_A_PIECE))


class Begun:
    """Pieces of which the first is there already: what goes wrong with it can still become an error answer.

    `close` ends what is left, and its transaction with it: whoever hangs up must not leave one open.
    """

    def __init__(self, pieces: Generator[str, None, None]) -> None:
        self.first, self.others = next(pieces), pieces

    def __iter__(self) -> Iterator[str]:
        yield self.first
        yield from self.others

    def close(self) -> None:
        self.others.close()


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
    return utc_text(value) if value else None


def harmless(text: str | None) -> str | None:
    """Return a text that no spreadsheet takes for a formula: an apostrophe goes in front of one."""
    return f"'{text}" if text and text.lstrip(" ").startswith(FORMULA_SIGNS) else text
