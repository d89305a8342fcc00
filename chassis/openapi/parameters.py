"""What a request may carry besides its body."""

from functools import singledispatch
from typing import Any

import django_filters
from drf_yasg import openapi

from chassis import request_id
from chassis.api import etags, filters, idempotency, pagination
from chassis.api.views import MAX_PARAMETER_LENGTH, Endpoint
from chassis.ids import PATTERN
from chassis.openapi.operations import Schema
from chassis.openapi.schemas import DAY, ID, NUL, Definitions, none_of


@singledispatch
def schema_of(filter_: Any) -> Schema:
    """Return the type of a filter's values. django-filter does not describe its filters itself."""
    raise TypeError(f"there is no schema for {type(filter_).__name__}")


@schema_of.register(filters.ChoicesFilter)
def _(filter_: filters.ChoicesFilter) -> Schema:
    words = {value: word for word, value in reversed(filter_.extra["spellings"].items())}
    listed = {"type": "string", "enum": list(reversed(words.values()))}
    return {"type": "array", "items": listed, "minItems": 1, "collectionFormat": "csv"}


@schema_of.register(filters.DateFilter)
def _(filter_: filters.DateFilter) -> Schema:
    return dict(DAY)


@schema_of.register(filters.StrictBooleanFilter)
def _(filter_: filters.StrictBooleanFilter) -> Schema:
    return {"type": "boolean", "description": "`true` or `false`, in any case (`True` is fine)."}


@schema_of.register(filters.IdFilter)
def _(filter_: filters.IdFilter) -> Schema:
    return dict(ID)


@schema_of.register(filters.UsersFilter)
def _(filter_: filters.UsersFilter) -> Schema:
    users = {"type": "string", "pattern": f"^(?:{PATTERN}|{filters.NAME_PATTERN})$"}
    return {
        "type": "array",
        "items": users,
        "minItems": 1,
        "maxItems": filters.MAX_USERS,
        "collectionFormat": "csv",
    }


@schema_of.register(filters.DateOrKeywordFilter)
def _(filter_: filters.DateOrKeywordFilter) -> Schema:
    return {"type": "string", "pattern": f"^(?:{filter_.extra['keyword']}|{DAY['pattern'][1:-1]})$"}


@schema_of.register(filters.ChoiceFilter)
def _(filter_: filters.ChoiceFilter) -> Schema:
    return {"type": "string", "enum": list(filter_.extra["names"])}


@schema_of.register(django_filters.CharFilter)
def _(filter_: django_filters.CharFilter) -> Schema:
    longest = filter_.extra.get("max_length")
    return {"type": "string", "pattern": none_of(NUL)} | ({"maxLength": longest} if longest else {})


def in_query(view: Endpoint, definitions: Definitions) -> list[openapi.Parameter]:
    found = []
    if view.filterset_class:
        for name, filter_ in view.filterset_class.base_filters.items():
            schema = schema_of(filter_)
            notes = (definitions.note(view.filterset_class, name), schema.pop("description", None))
            found.append(parameter("query", name, description=" ".join(filter(None, notes)) or None, **schema))
    of_pages = {"ordering": ordering, "page_size": page_size, "cursor": cursor}
    return [*found, *(make(view) for name, make in of_pages.items() if name in view.query_parameters)]


def ordering(view: Any) -> openapi.Parameter:
    names = [sign + name for name in view.ordering_fields for sign in ("", "-")]
    description = "What to sort by; `-` is for descending. The id breaks ties."
    if view.ranks_search:
        names.append(pagination.RELEVANCE)
        description += (
            " `relevance` is the default with `search`: the best first. Without `search` it is the other default."
        )
    return parameter(
        *("query", "ordering"), description=description, type="string", enum=names, default=view.default_ordering
    )


def page_size(view: Any) -> openapi.Parameter:
    pages = pagination.KeysetPagination
    return parameter(
        *("query", "page_size"),
        description="How many rows a page has.",
        type="integer",
        minimum=1,
        maximum=pages.max_size,
        default=pages.default_size,
    )


def cursor(view: Any) -> openapi.Parameter:
    description = "Where a page begins: follow `next` and `previous`, which hold it, rather than making one."
    return parameter("query", "cursor", description=description, type="string", maxLength=MAX_PARAMETER_LENGTH)


def in_headers(*, takes_if_match: bool, reads_json: bool, is_keyed: bool) -> list[openapi.Parameter]:
    found = []
    if takes_if_match:
        description = "The `ETag` that was read; 412 if it has changed since. `*` is any version."
        found.append(parameter("header", "If-Match", description=description, type="string", pattern=etags.PATTERN))
    if reads_json:
        description = "An `ETag` that was read: 304 without a body if it is still the same."
        found.append(parameter("header", "If-None-Match", description=description, type="string"))
    if is_keyed:
        description = (
            "Any text of your own, such as a UUID: the same request, sent again within 24 hours, gets the first answer."
        )
        pattern = f"^{idempotency.KEY.pattern}$"
        found.append(parameter("header", idempotency.HEADER, description=description, type="string", pattern=pattern))
    description = (
        "Follows the request through the logs: up to 64 letters, digits, dots, hyphens or underscores. In the place of "
        "any other one is made."
    )
    found.append(parameter("header", request_id.HEADER, description=description, type="string"))
    return found


def in_path(name: str) -> openapi.Parameter:
    of = name.removesuffix("_id").replace("_", " ")
    return parameter("path", name, description=f"The id of the {of}.", required=True, **ID)


def in_body(schema: Schema) -> openapi.Parameter:
    return openapi.Parameter(name="body", in_=openapi.IN_BODY, required=True, schema=schema)


def parameter(place: str, name: str, *, required: bool = False, **schema: Any) -> openapi.Parameter:
    return openapi.Parameter(name=name, in_=place, required=required, **schema)


def is_keyed(handler: Any) -> bool:
    """Tell whether a view's method is wrapped by `idempotent`: wraps() leaves a function the globals of its module."""
    return handler.__globals__ is vars(idempotency)
