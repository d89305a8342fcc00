"""Tasks as CSV (RFC 4180), a piece at a time, safe to open in a spreadsheet."""

import csv
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from io import StringIO
from itertools import islice
from typing import Any

from django.db import transaction

from chassis.api.fields import utc_text
from tasks.models import Task, TaskQuerySet

ROWS_A_PIECE = 500
COLUMNS = (
    *("id", "title", "description", "status", "priority", "due_date", "is_overdue", "assigned_to", "assignee"),
    *("created_by", "created_at", "updated_at", "completed_at", "version"),
)
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
BYTE_ORDER_MARK = "\ufeff"
# Where a spreadsheet that splits at other separators, or at line ends inside quotes, sees a cell begin with a sign that
# makes it a formula (OWASP, CSV Injection). Apostrophes are matched too, so that one can be added and taken away again.
# docs/export.md says how.
BEFORE_SIGN = r"(?='*(?:[^\S\t\r\n]|[\"\u200b-\u200f\u2060\ufeff])*[=+\-@\uff1d\uff0b\uff0d\uff20{more}])"
FORMULA = re.compile(
    rf"\A{BEFORE_SIGN.format(more=chr(9) + chr(10) + chr(13))}|(?<=[,;|\t\r\n]){BEFORE_SIGN.format(more='')}"
)


def pieces(tasks: TaskQuerySet, *, separator: str = ",", mark: str = "") -> Generator[str, None, None]:
    """Yield the mark and the header with the first rows, then the others. The tasks come with their assignee's name."""
    found: Any = tasks.iterator(chunk_size=ROWS_A_PIECE)
    # In a transaction PostgreSQL need not copy all rows before the first is out.
    with transaction.atomic(), closing(found):
        rows = map(row, found)
        piece = [COLUMNS, *islice(rows, ROWS_A_PIECE)]
        while piece:
            yield mark + as_csv(piece, separator)
            mark = ""
            piece = list(islice(rows, ROWS_A_PIECE))


class PrimedStream:
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


def as_csv(rows: list[Any], separator: str) -> str:
    text = StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


def row(task: Task) -> list[Any]:
    return [
        task.pk,
        escape_formulas(task.title),
        escape_formulas(task.description),
        task.status,
        task.get_priority_display(),
        task.due_date,
        str(task.is_overdue).lower(),
        task.assigned_to_id,
        escape_formulas(task.assignee_name),
        task.created_by,
        instant(task.created_at),
        instant(task.updated_at),
        instant(task.completed_at),
        task.version,
    ]


def instant(value: Any) -> str | None:
    return utc_text(value) if value else None


def escape_formulas(text: str | None) -> str | None:
    """Return a text that no spreadsheet takes for a formula: an apostrophe goes in front of each."""
    return FORMULA.sub("'", text) if text else text
