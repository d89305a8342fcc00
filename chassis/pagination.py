"""Keyset pages: each continues after the last row of the one before, however many rows came or went since."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.db.models import F, Model, Q
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from chassis.serializers import unknown

SALT = "chassis.pagination.cursor"
PARAMETERS = frozenset({"cursor", "ordering", "page_size"})


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


class KeysetPagination(BasePagination):
    """Pages of {"next", "previous", "results"}.

    The view names what may be sorted by in `ordering_fields`, and `default_ordering`. Query parameters: `cursor`
    (opaque, signed), `page_size` (1 to 100, default 20), `ordering` (one field, with "-" for descending).
    """

    default_size = 20
    largest_size = 100

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        self.ordering: str = request.query_params.get("ordering", view.default_ordering)
        self.order = order_of(self.ordering, view.ordering_fields, queryset.model)
        self.size = self.size_of(request.query_params.get("page_size"))
        cursor = request.query_params.get("cursor")
        start, backwards = self.read(cursor, queryset.model) if cursor is not None else (None, False)
        sorting = replace(self.order, column="id", nullable=False) if self.is_pinned() else self.order
        columns = sorting.columns(backwards=backwards)
        stretches = [Q()] if start is None else sorting.beyond(*start, backwards=backwards)
        parts = [queryset.filter(stretch).order_by(*columns)[: self.size + 1] for stretch in stretches]
        if len(parts) > 1:
            parts = [parts[0].union(*parts[1:], all=True).order_by(*columns)[: self.size + 1]]
        rows = list(parts[0])
        more, rows = len(rows) > self.size, rows[: self.size]
        if backwards:
            rows.reverse()
        self.has_next = bool(rows) and (backwards or more)
        self.has_previous = bool(rows) and (more if backwards else start is not None)
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
        field: Any = row._meta.get_field(self.order.column)
        value = None if getattr(row, self.order.column) is None else field.value_to_string(row)
        cursor = signer().sign_object([self.ordering, backwards, value, row.pk])
        kept = [(name, value) for name, values in self.request.query_params.lists() for value in values]
        query = urlencode([*((name, value) for name, value in kept if name != "cursor"), ("cursor", cursor)])
        return f"{settings.PUBLIC_URL}{self.request.path}?{query}"

    def read(self, cursor: str, model: type[Model]) -> tuple[tuple[Any, int], bool]:
        try:
            ordering, backwards, value, id_ = signer().unsign_object(cursor)
        except (signing.BadSignature, ValueError) as error:
            raise refused("cursor", "Is not one that a page of this list gave.") from error
        if ordering != self.ordering:
            raise refused("cursor", f"Belongs to ordering={ordering}; leave ordering out or start anew.")
        field: Any = model._meta.get_field(self.order.column)
        return (None if value is None else field.to_python(value), id_), backwards


def signer() -> signing.Signer:
    """Sign without the time: the same page has the same links, and so the same entity tag."""
    return signing.Signer(salt=SALT)


def order_of(ordering: str, allowed: list[str], model: type[Model]) -> Order:
    column = ordering.removeprefix("-")
    if column not in allowed:
        raise refused("ordering", unknown("ordering", column, allowed) + f" Known: {', '.join(allowed)}.")
    field: Any = model._meta.get_field(column)
    return Order(column, descending=ordering.startswith("-"), nullable=field.null)


def refused(parameter: str, detail: str) -> ValidationError:
    return ValidationError({parameter: [ErrorDetail(detail, code="invalid")]})
