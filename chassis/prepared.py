"""Constant statements, which PostgreSQL parses and plans once per connection, not for each request.

They are plain statements where PREPARE is not safe: behind a pooler, whose clients share server connections.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import count
from typing import Any

from django.db.backends.utils import CursorWrapper

MAX_PREPARED = 50  # per connection, about 50 kB each in the server
TYPES: dict[type, str] = {bool: "boolean", timedelta: "interval", datetime: "timestamptz", date: "date"}
PLACEHOLDER = re.compile("%(?P<kind>[s%])")


def execute(cursor: CursorWrapper, sql: str, parameters: Sequence[Any]) -> None:
    """Execute a statement that is the same for many requests, with its parameters as %s.

    PostgreSQL infers the types of the parameters that are not in TYPES; `%s::type` names one.
    """
    name = prepare(cursor, sql, parameters)
    if name is None:
        cursor.execute(sql, parameters)
    else:
        placeholders = ", ".join(["%s"] * len(parameters))
        cursor.execute(f"EXECUTE {name} ({placeholders})" if parameters else f"EXECUTE {name}", parameters)


def prepare(cursor: CursorWrapper, sql: str, parameters: Sequence[Any]) -> str | None:
    """Return the name of the prepared statement, or None if there is none."""
    db: Any = cursor.db
    if db.execute_wrappers or db.queries_logged:  # they read the SQL
        return None
    name: str | None = db.prepared.get(sql)
    if name is None and len(db.prepared) < MAX_PREPARED and db.is_direct:
        name = f"statement_{len(db.prepared) + 1}"
        types = ", ".join(TYPES.get(type(each), "unknown") for each in parameters)
        cursor.execute(f"PREPARE {name} {f'({types}) ' if types else ''}AS {numbered(sql)}")
        db.prepared[sql] = name
    return name


def numbered(sql: str) -> str:
    """Return the statement with $1, $2... for %s."""
    numbers = count(1)
    return PLACEHOLDER.sub(lambda found: f"${next(numbers)}" if found["kind"] == "s" else "%", sql)
