"""Counts up to a limit, which are not repeated while they are certain to be above it.

Every change of a task writes history. While there are at most MAX_ENTRIES entries since a count was at the limit, it is
still above `limit - MARGIN`. The entries are counted as in tasks.stamps. See ADR 34.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connection

from chassis import prepared
from tasks import stamps

Compiled = tuple[str, Sequence[Any]]

MARGIN = stamps.MAX_ENTRIES + 1
MAX_REMEMBERED = 256  # per connection
# Each count reads these tasks by its own index: PostgreSQL puts the filters into each.
STATEMENT = f"""
    WITH now (state, has_changed) AS MATERIALIZED (
        SELECT {stamps.STATE}, {stamps.ENTRIES.format(since="%s")} > {stamps.MAX_ENTRIES}
    ), tasks_task AS NOT MATERIALIZED ({{tasks}})
    SELECT state, has_changed, {{counts}} FROM now
"""  # noqa: S608 - constants only
COUNT = "CASE WHEN has_changed OR NOT %s THEN (SELECT count(*) FROM ({}) AS counted) END"


@dataclass(frozen=True, slots=True)
class Large:
    """The subsets whose count was at the limit, and the oldest transaction that was running then."""

    names: frozenset[str] = frozenset()
    since: int = stamps.NEVER


# Connections have their own, because a database that is restored from a backup needs new ones.
remembered: WeakKeyDictionary[Any, dict[Any, Large]] = WeakKeyDictionary()


def count(tasks: Compiled, subsets: dict[str, Compiled], limit: int, *, may_remember: bool) -> tuple[list[int], str]:
    """Count subsets of `tasks`, each up to `limit`, in one statement. Return the counts and the state of all tasks.

    A count is exact up to `limit - MARGIN`. With `may_remember`, the subsets depend on nothing but tasks.
    """
    filtered, values = tasks
    sql = STATEMENT.format(tasks=filtered, counts=", ".join(COUNT.format(subset) for subset, _ in subsets.values()))
    key = (sql, *values, *chain.from_iterable(parameters for _, parameters in subsets.values()))
    with connection.cursor() as cursor:
        known = remembered.setdefault(connection.connection, {})
        large = known.get(key, Large())
        flagged = chain.from_iterable((name in large.names, *parameters) for name, (_, parameters) in subsets.items())
        prepared.execute(cursor, sql, [large.since, *values, *flagged])
        state, has_changed, *counts = cursor.fetchone()
    found = [limit if number is None else number for number in counts]
    if may_remember and (has_changed or not large.names):
        remember(known, key, [name for name, number in zip(subsets, found, strict=True) if number == limit], state)
    return found, state


def remember(known: dict[Any, Large], key: Any, names: list[str], state: str) -> None:
    known.pop(key, None)
    if len(known) == MAX_REMEMBERED:
        known.clear()
    if names:
        known[key] = Large(frozenset(names), stamps.oldest_transaction(state))
