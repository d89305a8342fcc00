"""Querysets that are compiled once: compiling one for each request takes longer than running it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from chassis import prepared


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str


def parameter(name: str) -> RawSQL:
    """Return a placeholder in the queryset of a CompiledQuery; its value is given when it runs."""
    return RawSQL("%s", [Parameter(name)])


class CompiledQuery:
    """A queryset with placeholders. It must not depend on the time or on settings that change."""

    template = "{queryset}"
    columns: list[str] | None = None  # known once it has run

    def __init__(self, queryset: Callable[[], QuerySet[Any, Any]], *, is_prepared: bool = True) -> None:
        """Pass is_prepared=False if the best plan depends on the values."""
        self.queryset, self.is_prepared = queryset, is_prepared

    @cached_property
    def compiled(self) -> tuple[str, tuple[Any, ...]]:
        sql, params = self.queryset().query.sql_with_params()
        return self.template.format(queryset=sql), params

    def bind(self, *more: Any, **values: Any) -> tuple[str, list[Any]]:
        """Return the statement and its parameters, with `more` for placeholders of the template."""
        sql, params = self.compiled
        return sql, [*(values[each.name] if isinstance(each, Parameter) else each for each in params), *more]

    def all(self, **values: Any) -> list[SimpleNamespace]:
        """Run it with these values and return the rows, with the columns as attributes."""
        with connection.cursor() as cursor:
            self.execute(cursor, *self.bind(**values))
            rows, names = cursor.fetchall(), [column.name for column in cursor.description]
        return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in rows]

    def first(self, *more: Any, **values: Any) -> dict[str, Any] | None:
        """Run it with these values, and `more` for placeholders of the template. Return the first row by column."""
        with connection.cursor() as cursor:
            self.execute(cursor, *self.bind(*more, **values))
            row = cursor.fetchone()
            if self.columns is None:
                self.columns = [column.name for column in cursor.description]
        return row and dict(zip(self.columns, row, strict=True))

    def execute(self, cursor: CursorWrapper, sql: str, parameters: list[Any]) -> None:
        if self.is_prepared:
            prepared.execute(cursor, sql, parameters)
        else:
            cursor.execute(sql, parameters)
