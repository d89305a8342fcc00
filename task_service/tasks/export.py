"""Tasks as CSV (RFC 4180), streamed in chunks, safe to open in a spreadsheet."""

import csv
import re
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from io import StringIO
from itertools import islice
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, Expression, Q, TextField, Value, When
from django.db.models.expressions import RawSQL
from django.utils import timezone

from chassis.api.problems import ServiceUnavailable
from tasks.models import Task, TaskQuerySet
from tasks.row_json import INSTANT

ROWS_PER_CHUNK = 500
COLUMNS = (
    *("id", "title", "description", "status", "priority", "due_date", "is_overdue", "assigned_to", "assignee"),
    *("created_by", "created_at", "updated_at", "completed_at", "version"),
)
INSTANTS = ("created_at", "updated_at", "completed_at")
ANNOTATED = {
    "priority": "priority_label",
    "is_overdue": "overdue",
    "assignee": "assignee_name",
    **{name: f"{name}_text" for name in INSTANTS},
}
TEXTS = [COLUMNS.index(name) for name in ("title", "description", "assignee")]
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
BYTE_ORDER_MARK = "\ufeff"
# Positions where a spreadsheet may see a cell that begins with a formula sign (OWASP, CSV Injection), even if it splits
# at other separators or at line ends inside quotes. Leading apostrophes match too, so that escaping can be undone: see
# docs/export.md.
BEFORE_SIGN = r"(?='*(?:[^\S\t\r\n]|[\"\u200b-\u200f\u2060\ufeff])*[=+\-@\uff1d\uff0b\uff0d\uff20{more}])"
FORMULA = re.compile(
    rf"\A{BEFORE_SIGN.format(more=chr(9) + chr(10) + chr(13))}|(?<=[,;|\t\r\n]){BEFORE_SIGN.format(more='')}"
)
SIGN = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")  # one of them is in every match of FORMULA
MAX_SECONDS = 600  # a client that reads too slowly must not keep others from exporting, nor VACUUM from cleaning up
# The key of an advisory lock. Any role of the database can take that, but only prevents large exports by it.
LARGE_EXPORT = 416


class LargeExportRunning(ServiceUnavailable):
    default_detail = "Another large export is running; try again later, or export less with filters."
    wait = 10


class ExportTooSlow(Exception):
    """The client has not received the whole export within MAX_SECONDS."""


def with_cells(tasks: TaskQuerySet) -> TaskQuerySet:
    """Annotate the cells of a task that are not columns, as text."""
    overdue = Q(due_date__lt=timezone.localdate()) & ~Q(status=Task.Status.COMPLETED)
    cells: dict[str, Expression] = {
        "priority": Case(*(When(priority=each, then=Value(each.label)) for each in Task.Priority)),
        "is_overdue": Case(When(overdue, then=Value("true")), default=Value("false")),
    }
    for name in INSTANTS:
        cells[name] = RawSQL(INSTANT.format(name), [], output_field=TextField())  # noqa: S611 - constants only
    annotated: TaskQuerySet = tasks.with_assignee().annotate(**{ANNOTATED[name]: cells[name] for name in cells})
    return annotated


def chunks(tasks: TaskQuerySet, *, separator: str = ",", mark: str = "") -> Generator[str, None, None]:
    """Yield the byte order mark, the header and the first rows, then further rows. Needs with_cells().

    One export of several chunks runs at a time, so that other requests keep the other workers; meanwhile the next one
    raises LargeExportRunning before its first chunk.
    """
    found: Any = tasks.values_list(*(ANNOTATED.get(name, name) for name in COLUMNS)).iterator(chunk_size=ROWS_PER_CHUNK)
    deadline = time.monotonic() + MAX_SECONDS
    # In a transaction, PostgreSQL does not have to copy all rows before it sends the first.
    with transaction.atomic(), closing(found):
        rows = map(escape_formulas, found)
        chunk: list[Any] = [COLUMNS, *islice(rows, ROWS_PER_CHUNK)]
        following = list(islice(rows, ROWS_PER_CHUNK))
        if following:
            lock_large_exports()
        while chunk:
            if time.monotonic() > deadline:
                raise ExportTooSlow()
            yield mark + as_csv(chunk, separator)
            mark = ""
            chunk, following = following, list(islice(rows, ROWS_PER_CHUNK))


def lock_large_exports() -> None:
    """Raise LargeExportRunning if another transaction has the lock. It ends with the transaction, however that ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LARGE_EXPORT])
        if cursor.fetchone() != (True,):
            raise LargeExportRunning()


class PrimedStream:
    """A stream whose first chunk is computed already, so that its errors still become an error response.

    `close` ends the generator and its transaction: a client that disconnects must not leave one open.
    """

    def __init__(self, chunks: Generator[str, None, None]) -> None:
        self.first, self.rest = next(chunks), chunks

    def __iter__(self) -> Iterator[str]:
        yield self.first
        yield from self.rest

    def close(self) -> None:
        self.rest.close()


def as_csv(rows: Iterable[Any], separator: str) -> str:
    text = StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


def escape_formulas(cells: tuple[Any, ...]) -> list[Any]:
    row = list(cells[: len(COLUMNS)])  # a search has further columns, by which it sorts
    for index in TEXTS:
        row[index] = escape_formula(row[index])
    return row


def escape_formula(text: str | None) -> str | None:
    """Return the text with an apostrophe before everything that a spreadsheet would evaluate as a formula."""
    return FORMULA.sub("'", text) if text and SIGN.search(text) else text
