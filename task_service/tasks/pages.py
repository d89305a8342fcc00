"""Pages of the tasks that a caller can see, compiled once: without filters for any position, otherwise the first."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils import timezone

from chassis.api.pagination import Order
from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, Parameter, parameter
from tasks.models import Task, TaskQuerySet, visible_values
from tasks.models.days import due_soon_range
from tasks.row_json import with_json

MAX_FILTERED_PAGES = 256  # per process, about 5 kB each
filtered_pages: dict[Any, CompiledQuery] = {}


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
    rows = visible_rows(required, order)
    return CompiledQuery(lambda: order.page(rows, position, backwards=backwards, limit=limit))


def visible_rows(required: tuple[str, ...], order: Order) -> TaskQuerySet:
    tasks = with_json(Task.objects.filter(**{name: parameter(name) for name in required}), Parameter("today"))
    return tasks.values(*sorted({"id", order.column, "json", "state"}))


def read_filtered_page(
    caller: Caller, order: Order, filters: Any, page_of: Callable[[TaskQuerySet], TaskQuerySet]
) -> list[Any]:
    """Return the first page of the tasks that the caller can see.

    `page_of` adds the filters, the order and the limit. It depends on nothing but `order`, `filters` and the day.
    """
    required = visible_values(caller)
    key = (tuple(required), order, filters, due_soon_range(), settings.TIME_ZONE)
    if key not in filtered_pages:
        if len(filtered_pages) >= MAX_FILTERED_PAGES:
            filtered_pages.clear()
        page = page_of(visible_rows(tuple(required), order))
        filtered_pages[key] = CompiledQuery(lambda: page, is_prepared=False)
    return filtered_pages[key].all(today=timezone.localdate(), **required)
