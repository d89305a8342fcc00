"""Rows as JSON, so that one constant statement writes any number of them.

Columns and values come from the model, so that no new column is forgotten.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import orjson
from django.db import models
from django.db.models import NOT_PROVIDED


@cache
def attributes(model: type[models.Model]) -> dict[str, str]:
    """Return the attribute of each column, except those that PostgreSQL sets."""
    fields = (field for field in model._meta.concrete_fields if field.db_default is NOT_PROVIDED)
    return {str(field.column): field.attname for field in fields}


@cache
def new_columns(model: type[models.Model], *, but: str = "") -> str:
    """Return the columns of a new row, without its primary key, as a list in SQL."""
    return ", ".join(column for column in attributes(model) if column not in (model._meta.pk.column, but))


def values(row: models.Model, columns: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the values of these columns, or of all columns."""
    names = attributes(type(row))
    return {column: getattr(row, names[column]) for column in columns or names}


def as_json(rows: Iterable[dict[str, Any]]) -> str:
    """Return the values of rows as an array for jsonb_populate_recordset()."""
    return orjson.dumps(list(rows)).decode()
