"""Keyset pages: each continues after the last row of the one before, however many rows came or went since."""

from dataclasses import asdict, dataclass, replace
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

from chassis.fields import utc_text
from chassis.serializers import unknown

SALT = "chassis.pagination.cursor"
PARAMETERS = frozenset({"cursor", "ordering", "page_size"})
RELEVANCE = "relevance"  # of what a search has found


@dataclass(frozen=True, slots=True)
class Order:
    """A column to sort by, with the id to break ties in the same direction. Nulls come last either way."""

    column: str
    descending: bool
    nullable: bool

    def columns(self, *, backwards: bool) -> list[Any]:
        """Return the arguments of order_by(), turned round for a page that is read towards the front."""
        descending = self.descending is not backwards
        by_id = "-id" if descending else "id"
        if self.column == "id":
            return [by_id]
        if not self.nullable:  # the plain form is the one that a plain index serves
            return [f"-{self.column}" if descending else self.column, by_id]
        nulls = {"nulls_first": True} if backwards else {"nulls_last": True}
        column = F(self.column)
        return [column.desc(**nulls) if descending else column.asc(**nulls), by_id]

    def parts(self, queryset: Any, place: list[Any] | None, *, backwards: bool) -> list[Any]:
        """Return querysets that have no row in common, and between them all rows beyond the place."""
        stretches = [Q()] if place is None else self.beyond(*place, backwards=backwards)
        return [queryset.filter(stretch) for stretch in stretches]

    def beyond(self, value: Any, id_: int, *, backwards: bool) -> list[Any]:
        """Return the conditions for the rows after (value, id), or before it for `backwards`, in the order of the rows.

        Each is one stretch of an index, where a single condition for all would make PostgreSQL read from its beginning.
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
    """The `ranks` of a queryset one after the other, best first, each sorted by the column."""

    def columns(self, *, backwards: bool) -> list[Any]:
        return ["-rank" if backwards else "rank", *super(RankedOrder, self).columns(backwards=backwards)]

    def parts(self, queryset: Any, place: list[Any] | None, *, backwards: bool) -> list[Any]:
        ranks = [part.annotate(rank=Value(number)) for number, part in enumerate(queryset.ranks)]
        if place is None:
            return ranks
        value, id_, rank = place
        (stretch,) = self.beyond(value, id_, backwards=backwards)
        begun = [part.filter(stretch) for part in ranks[rank : rank + 1]]  # none where the text searched for was changed
        return [*begun, *(ranks[:rank] if backwards else ranks[rank + 1 :])]


class KeysetPagination(BasePagination):
    """Pages of {"next", "previous", "results"}.

    The view names what may be sorted by in `ordering_fields`, and `default_ordering`. Query parameters: `cursor`
    (opaque, signed), `page_size` (1 to 100, default 20), `ordering` (one field, with "-" for descending). A view that
    has `ranks_search` sorts what `search` finds by relevance, unless told otherwise: its querysets come with `ranks`.
    """

    default_size = 20
    largest_size = 100

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        self.ordering, self.order = order_of(request, view, queryset.model)
        self.size = self.size_of(request.query_params.get("page_size"))
        cursor = request.query_params.get("cursor")
        place, backwards = self.read(cursor, queryset.model) if cursor is not None else (None, False)
        sorting = replace(self.order, column="id", nullable=False) if self.is_pinned() else self.order
        rows = list(first_rows(queryset, sorting, place, backwards=backwards, limit=self.size + 1))
        more, rows = len(rows) > self.size, rows[: self.size]
        if backwards:
            rows.reverse()
        self.has_next = bool(rows) and (backwards or more)
        self.has_previous = bool(rows) and (more if backwards else place is not None)
        self.rows = rows
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "next": self.link(self.rows[-1], backwards=False) if self.has_next else None,
                "previous": self.link(self.rows[0], backwards=True) if self.has_previous else None,
                "results": data,
            }
        )

    def is_pinned(self) -> bool:
        """Tell whether a filter gives all rows the same value in the column, so that only their ids sort them.

        PostgreSQL knows it, and would look for the page by the ids of all rows.
        """
        values = self.request.query_params.getlist(self.order.column)
        return len(values) == 1 and "," not in values[0]

    def size_of(self, text: str | None) -> int:
        if text is None:
            return self.default_size
        if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= self.largest_size):
            raise refused("page_size", f"Must be a whole number from 1 to {self.largest_size}.")
        return int(text)

    def link(self, row: Model, *, backwards: bool) -> str:
        """Return the URL of the page beyond `row`; the caller's other parameters stay. The Host header has no say."""
        rank = [getattr(row, "rank")] if isinstance(self.order, RankedOrder) else []  # noqa: B009  # no field of the model
        cursor = signer().sign_object([self.ordering, backwards, text_of(row, self.order.column), row.pk, *rank])
        kept = [(name, value) for name, values in self.request.query_params.lists() for value in values]
        query = urlencode([*((name, value) for name, value in kept if name != "cursor"), ("cursor", cursor)])
        return f"{settings.PUBLIC_URL}{self.request.path}?{query}"

    def read(self, cursor: str, model: type[Model]) -> tuple[list[Any], bool]:
        try:
            ordering, backwards, value, *rest = signer().unsign_object(cursor)
        except (signing.BadSignature, ValueError) as error:
            raise refused("cursor", "Is not one that a page of this list gave.") from error
        if ordering != self.ordering:
            raise refused("cursor", f"Belongs to ordering={ordering}; leave ordering out or start anew.")
        field: Any = model._meta.get_field(self.order.column)
        return [None if value is None else field.to_python(value), *rest], backwards


def text_of(row: Model, column: str) -> str | None:
    """Return the value of a column as its field can read it again."""
    value = getattr(row, column)
    field: Any = row._meta.get_field(column)
    if value is None:
        return None
    return utc_text(value) if isinstance(value, datetime) else str(field.value_to_string(row))


def signer() -> signing.Signer:
    """Sign without the time: the same page has the same links, and so the same entity tag."""
    return signing.Signer(salt=SALT)


def first_rows(
    queryset: Any, order: Order, place: list[Any] | None = None, *, backwards: bool = False, limit: int | None = None
) -> Any:
    """Return the rows beyond the place, in order. Each part of them is limited, so that an index can serve it."""
    columns = order.columns(backwards=backwards)
    parts = order.parts(queryset, place, backwards=backwards)
    if len(parts) < 2:
        return parts[0].order_by(*columns)[:limit] if parts else queryset.none()
    if limit is not None:
        within = Order(order.column, order.descending, order.nullable).columns(backwards=backwards)
        parts = [part.order_by(*within)[:limit] for part in parts]
    return parts[0].union(*parts[1:], all=True).order_by(*columns)[:limit]


def order_of(request: Request, view: Any, model: type[Model]) -> tuple[str, Order]:
    """Return what to sort by, by its name."""
    is_ranked = view.ranks_search and bool(request.query_params.get("search"))
    ordering = request.query_params.get("ordering", RELEVANCE if is_ranked else view.default_ordering)
    if ordering == RELEVANCE and is_ranked:
        return ordering, RankedOrder(**asdict(order_by(view.default_ordering, model)))
    if ordering == RELEVANCE and view.ranks_search:
        ordering = view.default_ordering  # nothing was searched for
    allowed = view.ordering_fields
    if ordering.removeprefix("-") not in allowed:
        detail = unknown("ordering", ordering.removeprefix("-"), allowed) + f" Known: {', '.join(allowed)}."
        raise refused("ordering", detail)
    return ordering, order_by(ordering, model)


def order_by(ordering: str, model: type[Model]) -> Order:
    column = ordering.removeprefix("-")
    field: Any = model._meta.get_field(column)
    return Order(column, descending=ordering.startswith("-"), nullable=field.null)


def refused(parameter: str, detail: str) -> ValidationError:
    return ValidationError({parameter: [ErrorDetail(detail, code="invalid")]})
