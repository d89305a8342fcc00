"""Serializers and their fields as schemas. A field that is not described here has no business in an answer."""

import re
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from chassis.api import fields
from chassis.hidden_characters import FORBIDDEN_IN_TEXT, NEVER_ALLOWED
from chassis.ids import MAX_ID
from chassis.openapi.operations import JSON, Answer, Body, Kind, Schema, Shape

ID: Schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}
# From fields.MIN_DATE to fields.MAX_DATE.
DAY: Schema = {
    "type": "string",
    "format": "date",
    "pattern": "^(?:20[0-9]{2}|2100)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$",
}
NUL = re.compile("[\0]")  # no body may hold it: PostgreSQL does not store it
INSTANT: Schema = {"type": "string", "format": "date-time"}


@singledispatch
def schema_of(field: Any) -> Schema:
    """Return the type of a field's values. An app registers those of its own fields."""
    raise TypeError(f"there is no schema for {type(field).__name__} {field.field_name}")


@singledispatch
def schema_of_input(field: Any) -> Schema:
    """Return the type of what may come in, where that is not what goes out."""
    return schema_of(field)


@schema_of.register(serializers.CharField)
def _(field: serializers.CharField) -> Schema:
    schema: Schema = {"type": "string"}
    if not field.read_only:
        schema["pattern"] = none_of(NUL)
    if not field.read_only and not field.allow_blank:
        schema["minLength"] = 1
    if field.max_length is not None:
        schema["maxLength"] = field.max_length
    return schema


@schema_of.register(fields.StringField)
def _(field: fields.StringField) -> Schema:
    return {
        **schema_of.dispatch(serializers.CharField)(field),
        "pattern": none_of(FORBIDDEN_IN_TEXT, NEVER_ALLOWED),
    }


def none_of(*sets: re.Pattern[str]) -> str:
    """Return the pattern of texts that hold no character of these sets, spelt as JavaScript reads it too."""
    forbidden = "".join(each.pattern[1:-1] for each in sets)
    return re.sub("[^ -~]", lambda character: f"\\u{ord(character[0]):04x}", f"^[^{forbidden}]*$")


@schema_of.register(fields.SecretField)
def _(field: fields.SecretField) -> Schema:
    return {**schema_of.dispatch(serializers.CharField)(field), "format": "password"}


@schema_of.register(fields.IdField)
def _(field: fields.IdField) -> Schema:
    return dict(ID)


@schema_of.register(fields.IdsField)
def _(field: fields.IdsField) -> Schema:
    return {"type": "array", "items": dict(ID), "minItems": 1, "maxItems": field.max_ids, "uniqueItems": True}


@schema_of.register(fields.ChoiceField)
def _(field: fields.ChoiceField) -> Schema:
    return {"type": "string", "enum": list(field.names.values())}


@schema_of.register(fields.StrictBooleanField)
@schema_of.register(serializers.BooleanField)
def _(field: serializers.Field) -> Schema:
    return {"type": "boolean"}


@schema_of.register(fields.DateField)
def _(field: fields.DateField) -> Schema:
    return dict(DAY)


@schema_of.register(serializers.DateTimeField)
def _(field: serializers.DateTimeField) -> Schema:
    return dict(INSTANT)


@schema_of.register(serializers.IntegerField)
def _(field: serializers.IntegerField) -> Schema:
    return {"type": "integer", "format": "int64"}


def nullable(schema: Schema) -> Schema:
    return {**schema, "x-nullable": True}


def person(description: str) -> Schema:
    """Return the schema of {"id", "username"}, or null."""
    properties = {"id": dict(ID), "username": {"type": "string"}}
    return nullable({"type": "object", "description": description, **whole(properties)})


def optional(schema: Schema) -> Schema:
    """Mark a member of an answer that is not always there."""
    return {**schema, "x-optional": True}


def whole(properties: dict[str, Schema]) -> Schema:
    required = [name for name, schema in properties.items() if "x-optional" not in schema]
    return {"required": required, "properties": properties} if required else {"properties": properties}


class Definitions:
    """The named schemas of a document, each made when it is first referred to."""

    def __init__(self, scope: Any, notes: Mapping[type, Mapping[str, str]]) -> None:
        self.scope, self.notes = scope, notes

    def refer(self, name: str, make: Callable[[], Schema]) -> Schema:
        self.scope.setdefault(name, make)
        return {"$ref": f"#/definitions/{name}"}

    def of_answer(self, answer: Answer, *, page: bool) -> Schema | None:
        if answer.of is None:
            return None if answer.media_type == JSON else {"type": "file"}
        rows = self.of(answer.of, Kind.ANSWER)
        return self.page_of(rows, f"{name_of(answer.of, Kind.ANSWER)}Page") if page else rows

    def page_of(self, rows: Schema, name: str) -> Schema:
        link = nullable(
            {"type": "string", "format": "uri-reference", "description": "The address of that page, if there is one."}
        )
        properties = {"next": link, "previous": dict(link), "results": {"type": "array", "items": rows}}
        return self.refer(name, lambda: {"type": "object", **whole(properties)})

    def of_body(self, body: Body) -> Schema:
        name = name_of(body.serializer, body.kind) + ("ById" if body.with_id else "")
        return self.refer(name, lambda: {**self.described(body), "example": body.example})

    def described(self, body: Body) -> Schema:
        schema = self.object_of(body.serializer(), body.kind)
        if body.with_id:
            schema["properties"] = {**schema["properties"], "id": {**ID, "description": "Which one is meant."}}
            schema["required"] = ["id", *schema.get("required", [])]
        return schema

    def of(self, thing: type[serializers.Serializer] | Shape, kind: Kind) -> Schema:
        if isinstance(thing, Shape):
            return self.refer(thing.name, lambda: {"type": "object", **whole(thing.properties)})
        return self.refer(name_of(thing, kind), lambda: self.object_of(thing(), kind))

    def object_of(self, serializer: serializers.Serializer, kind: Kind) -> Schema:
        """Return a serializer's schema. Read-only fields may come back with PUT and PATCH, as they were read."""
        shown = {name: field for name, field in serializer.fields.items() if is_part(field, kind)}
        properties = {name: self.property_of(serializer, field, kind) for name, field in shown.items()}
        required = [name for name, field in shown.items() if is_required(field, kind)]
        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        if kind is not Kind.ANSWER:
            schema["additionalProperties"] = False
        return schema

    def property_of(self, serializer: serializers.Serializer, field: serializers.Field, kind: Kind) -> Schema:
        schema = dict(schema_of(field) if kind is Kind.ANSWER else schema_of_input(field))
        if field.allow_null:
            schema["x-nullable"] = True
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        if field.read_only and kind is not Kind.ANSWER:
            schema["readOnly"] = True
        elif kind in (Kind.NEW, Kind.PUT) and field.default not in (empty, None):
            schema["default"] = str(field.to_representation(field.default)) if is_text(schema) else field.default
        if note := self.note(type(serializer), str(field.field_name)):
            schema["description"] = note
        return schema

    def note(self, described: type, name: str) -> str | None:
        """Return what is noted of a field or filter, with its class or with one that it is made of."""
        notes = (self.notes[each] for each in described.__mro__ if each in self.notes)
        return next((each[name] for each in notes if name in each), None)


def name_of(thing: type[serializers.Serializer] | Shape, kind: Kind) -> str:
    if isinstance(thing, Shape):
        return thing.name
    name = thing.__name__.removesuffix("Serializer")
    makes_what_it_shows = kind is Kind.NEW and any(field.read_only for field in thing().fields.values())
    prefix = "New" if makes_what_it_shows else ""
    return prefix + name + {Kind.PUT: "Put", Kind.PATCH: "Patch"}.get(kind, "")


def is_part(field: serializers.Field, kind: Kind) -> bool:
    if kind is Kind.ANSWER:
        return not field.write_only
    return not (kind is Kind.NEW and field.read_only)


def is_required(field: serializers.Field, kind: Kind) -> bool:
    """Answers hold all fields. Swagger 2.0 wants no read-only property among those that a body must have."""
    if kind is Kind.ANSWER:
        return True
    return kind is not Kind.PATCH and field.required and not field.read_only


def is_text(schema: Schema) -> bool:
    return bool(schema.get("type") == "string")
