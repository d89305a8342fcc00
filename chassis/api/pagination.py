"""Keyset pagination: each page continues after the last row of the previous one, even if rows were added or removed."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.db.models import F, Model, Q, Value
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from chassis.api.fields import utc_text
from chassis.api.serializers import unknown_name

SALT = "chassis.api.pagination.cursor"
PARAMETERS = frozenset({"cursor", "ordering", "page_size"})
RELEVANCE = "relevance"  # of search results


@dataclass(frozen=True, slots=True)
class Order:
    """A column to sort by; the id breaks ties in the same direction. Nulls come last either way."""

    column: str
    descending: bool
    nullable: bool

    def columns(self, *, backwards: bool) -> list[Any]:
        """Return the arguments of order_by(), reversed for a page that is read backwards."""
        descending = self.descending is not backwards
        by_id = "-id" if descending else "id"
        if self.column == "id":
            return [by_id]
        if not self.nullable:  # a plain index serves only the plain form
            return [f"-{self.column}" if descending else self.column, by_id]
        nulls = {"nulls_first": True} if backwards else {"nulls_last": True}
        column = F(self.column)
        return [column.desc(**nulls) if descending else column.asc(**nulls), by_id]

    def sort(self, queryset: Any) -> Any:
        return queryset.order_by(*self.columns(backwards=False))

    def page(self, queryset: Any, position: list[Any] | None, *, backwards: bool, limit: int) -> Any:
        """Return the first rows after a position, which may have expressions."""
        ranges = [Q()] if position is None else self.conditions_after(*position, backwards=backwards)
        columns = self.columns(backwards=backwards)
        return first_rows([queryset.filter(range_) for range_ in ranges], columns, limit=limit)

    def conditions_after(self, value: Any, id_: Any, *, backwards: bool) -> list[Any]:
        """Return the conditions of the rows after (value, id), or before it for `backwards`, in order.

        Each is one range of an index; with a single condition PostgreSQL would scan the index from its start.
        """
        descending = self.descending is not backwards
        next_id = Q(id__lt=id_) if descending else Q(id__gt=id_)
        if self.column == "id":
            return [next_id]
        is_null = Q(**{f"{self.column}__isnull": True})
        if value is None:
            return [is_null & next_id, ~is_null] if backwards else [is_null & next_id]
        compared = TupleLessThan if descending else TupleGreaterThan
        rows = compared(Tuple(F(self.column), F("id")), (value, id_))
        return [rows, is_null] if self.nullable and not backwards else [rows]


@dataclass(frozen=True, slots=True)
class RankedOrder(Order):
    """The disjoint `ranks` of a queryset, one after the other, each sorted by the column."""

    def sort(self, queryset: Any) -> Any:
        return union(annotate_ranks(queryset.ranks)).order_by("rank", *self.columns(backwards=False))

    def page(self, queryset: Any, position: list[Any] | None, *, backwards: bool, limit: int) -> list[Any]:
        """Return the first rows after a position. Other ranks are queried only if its own has too few rows."""
        ranks, rank = annotate_ranks(queryset.ranks), 0
        if position is not None:
            value, id_, rank = position
            (range_,) = self.conditions_after(value, id_, backwards=backwards)
            ranks[rank : rank + 1] = [part.filter(range_) for part in ranks[rank : rank + 1]]
        columns = self.columns(backwards=backwards)
        rows = list(first_rows(ranks[rank : rank + 1], columns, limit=limit))
        others = ranks[:rank] if backwards else ranks[rank + 1 :]
        if others and len(rows) < limit:
            by_rank = "-rank" if backwards else "rank"
            rows += first_rows(others, columns, by_rank, limit=limit - len(rows))
        return rows


def annotate_ranks(ranks: list[Any]) -> list[Any]:
    return [part.annotate(rank=Value(number)) for number, part in enumerate(ranks)]


def first_rows(parts: list[Any], columns: list[Any], *before: str, limit: int) -> Any:
    """Return the first rows of all parts in one query that can use an index for each part."""
    if len(parts) < 2:
        return parts[0].order_by(*columns)[:limit] if parts else []
    return union([part.order_by(*columns)[:limit] for part in parts]).order_by(*before, *columns)[:limit]


def union(parts: list[Any]) -> Any:
    return parts[0].union(*parts[1:], all=True) if len(parts) > 1 else parts[0]


class KeysetPagination(BasePagination):
    """Pages of {"next", "previous", "results"}.

    The view defines `ordering_fields` and `default_ordering`. Query parameters: `cursor` (opaque, signed), `page_size`
    (1 to 100, default 20), `ordering` (one field, with "-" for descending). A view with `ranks_search` sorts
    results of `search` by relevance by default; its querysets have `ranks`.
    """

    default_size = 20
    max_size = 100

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.choose_page(request, view, queryset.model)
        return self.take(self.fetch(queryset))

    def choose_page(self, request: Request, view: Any, model: type[Model]) -> None:
        """Read the parameters of the request."""
        self.request = request
        self.ordering, self.order = resolve_order(request, view, model)
        self.size = self.parse_page_size(request.query_params.get("page_size"))
        cursor = request.query_params.get("cursor")
        found: tuple[list[Any] | None, bool] = self.read(cursor, model) if cursor is not None else (None, False)
        self.position, self.backwards = found

    def fetch(self, queryset: Any) -> list[Any]:
        """Return the rows for take()."""
        return list(self.narrow(queryset))

    def narrow(self, queryset: Any) -> Any:
        """Return fetch() as a queryset, unless the order is ranked."""
        order = replace(self.order, column="id", nullable=False) if self.has_constant_column() else self.order
        return order.page(queryset, self.position, backwards=self.backwards, limit=self.size + 1)

    def take(self, rows: list[Any]) -> list[Any]:
        """Return the rows of the page.

        `rows` are `size + 1` at most, in the direction in which they are read; the additional one tells whether there
        are more.
        """
        more = len(rows) > self.size
        rows = rows[::-1] if self.backwards else rows
        rows = rows[-self.size :] if self.backwards else rows[: self.size]
        self.has_next = bool(rows) and (self.backwards or more)
        self.has_previous = bool(rows) and (more if self.backwards else self.position is not None)
        self.rows = rows
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response(self.page(data))

    def page(self, results: Any) -> dict[str, Any]:
        return {
            "next": self.link(self.rows[-1], backwards=False) if self.has_next else None,
            "previous": self.link(self.rows[0], backwards=True) if self.has_previous else None,
            "results": results,
        }

    def has_constant_column(self) -> bool:
        """Return whether a filter gives all rows the same value in the column, so that only the id sorts them.

        With both columns in the order, PostgreSQL would walk the index of ids over all rows.
        """
        values = self.request.query_params.getlist(self.order.column)
        return len(values) == 1 and "," not in values[0]

    def parse_page_size(self, text: str | None) -> int:
        if text is None:
            return self.default_size
        if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= self.max_size):
            raise parameter_error("page_size", f"Must be a whole number from 1 to {self.max_size}.")
        return int(text)

    def link(self, row: Any, *, backwards: bool) -> str:
        """Return the URL of the page after `row`, with the other query parameters. The Host header is not used."""
        rank = [row.rank] if isinstance(self.order, RankedOrder) else []
        cursor = signer().sign_object([self.ordering, backwards, self.cursor_value(row), row.id, *rank])
        kept = [(name, value) for name, values in self.request.query_params.lists() for value in values]
        query = urlencode([*((name, value) for name, value in kept if name != "cursor"), ("cursor", cursor)])
        return f"{settings.PUBLIC_URL}{self.request.path}?{query}"

    def cursor_value(self, row: Any) -> str | None:
        """Return the value of the column as text that its field can parse."""
        value = getattr(row, self.order.column)
        return utc_text(value) if isinstance(value, datetime) else None if value is None else str(value)

    def read(self, cursor: str, model: type[Model]) -> tuple[list[Any], bool]:
        try:
            ordering, backwards, value, *rest = signer().unsign_object(cursor)
        except (signing.BadSignature, ValueError) as error:
            raise parameter_error("cursor", "Is not a valid cursor of this list.") from error
        if ordering != self.ordering:
            raise parameter_error("cursor", f"Belongs to ordering={ordering}; remove ordering or start again.")
        field: Any = model._meta.get_field(self.order.column)
        return [None if value is None else field.to_python(value), *rest], backwards


def signer() -> signing.Signer:
    """Sign without a timestamp, so that the same page has the same links and entity tag."""
    return signing.Signer(salt=SALT)


def resolve_order(request: Request, view: Any, model: type[Model]) -> tuple[str, Order]:
    """Return the name of the ordering, and the order."""
    is_ranked = view.ranks_search and bool(request.query_params.get("search"))
    ordering = request.query_params.get("ordering", RELEVANCE if is_ranked else view.default_ordering)
    if ordering == RELEVANCE and view.ranks_search:
        kind, sorting = RankedOrder if is_ranked else Order, view.default_ordering
    else:
        kind, sorting = Order, ordering
    column, allowed = sorting.removeprefix("-"), view.ordering_fields
    if column not in allowed:
        raise parameter_error("ordering", unknown_name("ordering", column, allowed) + f" Known: {', '.join(allowed)}.")
    field: Any = model._meta.get_field(column)
    return ordering, kind(column, descending=sorting.startswith("-"), nullable=field.null)


def parameter_error(parameter: str, detail: str) -> ValidationError:
    return ValidationError({parameter: [ErrorDetail(detail, code="invalid")]})
