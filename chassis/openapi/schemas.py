"""The schema of each kind of serializer field and filter. drf-yasg describes the plain fields of DRF."""

import re
from collections.abc import Callable
from typing import Any

import django_filters
from rest_framework import serializers

from chassis.api import fields, filters
from chassis.api.serializers import OutputSerializer
from chassis.hidden_characters import FORBIDDEN_IN_TEXT, NEVER_ALLOWED
from chassis.ids import MAX_ID, PATTERN

Schema = dict[str, Any]
ID: Schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}
DATE_PATTERN = "(?:20[0-9]{2}|2100)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"  # fields.MIN_DATE to fields.MAX_DATE
DATE: Schema = {"type": "string", "format": "date", "pattern": f"^{DATE_PATTERN}$"}
BOOLEAN: Schema = {"type": "boolean"}
USER: Schema = {"type": "string", "pattern": f"^(?:{PATTERN}|{filters.NAME_PATTERN})$"}
USER_REFERENCE_FIELDS = {"id": ID, "username": {"type": "string"}}
USER_REFERENCE: Schema = {
    "type": "object",
    "required": list(USER_REFERENCE_FIELDS),
    "properties": USER_REFERENCE_FIELDS,
}


def excluding_pattern(*sets: re.Pattern[str]) -> str:
    """Return the pattern of strings without any character of these sets, escaped for JavaScript."""
    forbidden = "".join(each.pattern[1:-1] for each in sets)
    return re.sub("[^ -~]", lambda character: f"\\u{ord(character[0]):04x}", f"^[^{forbidden}]*$")


UNCLEANED_TEXT: Schema = {
    "type": "string",
    "pattern": excluding_pattern(re.compile("[\0]")),
}  # PostgreSQL stores no NUL


def text(field: Any) -> Schema:
    schema: Schema = {"type": "string"}
    if not field.read_only and not isinstance(field.root, OutputSerializer):
        schema = UNCLEANED_TEXT if field.allow_blank else UNCLEANED_TEXT | {"minLength": 1}
    return schema if field.max_length is None else schema | {"maxLength": field.max_length}


def choices(filter_: Any) -> Schema:
    first_spellings = {value: word for word, value in reversed(filter_.extra["spellings"].items())}
    choice = {"type": "string", "enum": list(reversed(first_spellings.values()))}
    return list_schema(choice, collectionFormat="csv")


def list_schema(items: Schema, **limits: Any) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, **limits}


def date_or(keyword: str) -> Schema:
    return {"type": "string", "pattern": f"^(?:{keyword}|{DATE_PATTERN})$"}


SCHEMAS: dict[type, Callable[[Any], Schema]] = {
    serializers.CharField: text,
    serializers.JSONField: lambda _: {"type": "object", "additionalProperties": True},
    fields.StringField: lambda field: text(field) | {"pattern": excluding_pattern(FORBIDDEN_IN_TEXT, NEVER_ALLOWED)},
    fields.SecretField: lambda field: text(field) | {"format": "password"},
    fields.IdField: lambda _: ID,
    fields.IdsField: lambda field: list_schema(ID, maxItems=field.max_ids, uniqueItems=True),
    fields.ChoiceField: lambda field: {"type": "string", "enum": list(field.names.values())},
    fields.StrictBooleanField: lambda _: BOOLEAN,
    fields.DateField: lambda _: DATE,
    fields.UserReferenceField: lambda _: USER_REFERENCE,
    fields.AnyField: lambda _: {},
    filters.ChoicesFilter: choices,
    filters.UsersFilter: lambda _: list_schema(USER, maxItems=filters.MAX_USERS, collectionFormat="csv"),
    filters.DateFilter: lambda _: DATE,
    filters.DateOrKeywordFilter: lambda filter_: date_or(filter_.extra["keyword"]),
    filters.StrictBooleanFilter: lambda _: BOOLEAN,
    filters.IdFilter: lambda _: ID,
    filters.ChoiceFilter: lambda filter_: {"type": "string", "enum": list(filter_.extra["names"])},
    django_filters.CharFilter: lambda filter_: UNCLEANED_TEXT | {"maxLength": filter_.extra["max_length"]},
}


def value_schema(described: Any) -> Schema | None:
    """Return the schema of the values of a field or filter; None for a kind that is not listed here."""
    kind = next((kind for kind in type(described).__mro__ if kind in SCHEMAS), None)
    return dict(SCHEMAS[kind](described)) if kind else None
