"""Pages of the tasks that a caller can see, compiled once for each form of the request."""

from functools import lru_cache
from typing import Any

from django.utils import timezone

from chassis.api.pagination import Order
from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, Parameter, parameter
from tasks.models import Task, visible_values
from tasks.row_json import with_json


def read_page(
    caller: Caller, order: Order, limit: int, position: list[Any] | None = None, *, backwards: bool = False
) -> list[Any]:
    """Return the first tasks after a position: `id`, the column of the order, and with_json()."""
    required = visible_values(caller)
    value, after = position or (None, None)
    given = {name for name, each in (("value", value), ("after", after)) if each is not None}
    page = compiled_page(tuple(required), order, limit, frozenset(given), backwards)
    return page.all(value=value, after=after, today=timezone.localdate(), **required)


@lru_cache(maxsize=256)
def compiled_page(
    required: tuple[str, ...], order: Order, limit: int, given: frozenset[str], backwards: bool
) -> CompiledQuery:
    position = [parameter(name) if name in given else None for name in ("value", "after")] if given else None
    tasks = with_json(Task.objects.filter(**{name: parameter(name) for name in required}), Parameter("today"))
    rows = tasks.values(*sorted({"id", order.column, "json", "state"}))
    return CompiledQuery(lambda: order.page(rows, position, backwards=backwards, limit=limit))
