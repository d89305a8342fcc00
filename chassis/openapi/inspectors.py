"""drf-yasg's inspectors for the fields, filters and pages of chassis.api."""

from enum import Enum
from typing import Any

from drf_yasg import inspectors, openapi
from rest_framework.fields import Field, empty
from rest_framework.serializers import ModelSerializer, Serializer

from chassis.api import filters, pagination
from chassis.api.views import MAX_PARAMETER_LENGTH
from chassis.openapi.schemas import Schema, value_schema

MODE = "schema_mode"  # in the context of a serializer
LINK = "The address of that page; null if there is none."
ORDERING = "The field to sort by; `-` sorts in descending order. The id breaks ties."
RANKED = " With `search`, the default is `relevance`: the best matches first."
CURSOR = "The position of a page. Take it from `next` and `previous`; do not build one."


class SchemaMode(Enum):
    """Whether a serializer describes a response, or a body that creates, replaces or changes something.

    The value is the format of the schema's name.
    """

    RESPONSE = "{}"
    NEW = "New{}"
    PUT = "{}Put"
    PATCH = "{}Patch"


def get_mode(field: Any) -> SchemaMode:
    mode: SchemaMode = field.context.get(MODE, SchemaMode.RESPONSE)
    return mode


def schema_name(serializer: Serializer) -> str:
    """Return the name of the schema. Without read-only fields a serializer is only a body, so its name has no "New"."""
    mode, name = get_mode(serializer), type(serializer).__name__.removesuffix("Serializer")
    if mode is SchemaMode.NEW and not any(field.read_only for field in serializer.fields.values()):
        mode = SchemaMode.RESPONSE
    if name.endswith("ById"):
        return mode.value.format(name.removesuffix("ById")) + "ById"
    return mode.value.format(name)


class SerializerInspector(inspectors.ReferencingSerializerInspector):
    """Describes a serializer by its mode. Nested serializers are described inline."""

    def field_to_swagger_object(self, field: Any, swagger_object_type: Any, use_references: bool, **kwargs: Any) -> Any:
        if not isinstance(field, Serializer):
            return super().field_to_swagger_object(field, swagger_object_type, use_references, **kwargs)
        if isinstance(field.parent, Serializer) or not self.get_serializer_ref_name(field):
            return self.object_schema(field)
        definitions = self.components.with_scope(openapi.SCHEMA_DEFINITIONS)
        definitions.setdefault(schema_name(field), lambda: self.object_schema(field))
        return openapi.SchemaRef(definitions, schema_name(field))

    def object_schema(self, serializer: Any) -> openapi.Schema:
        """Return the schema. PUT and PATCH may send read-only fields back unchanged."""
        mode = get_mode(serializer)
        hidden = {SchemaMode.RESPONSE: "write_only", SchemaMode.NEW: "read_only"}.get(mode)
        fields = {name: field for name, field in serializer.fields.items() if not (hidden and getattr(field, hidden))}
        schema = openapi.Schema(
            type=openapi.TYPE_OBJECT,
            description=serializer.help_text,
            properties={name: self.property_schema(field, mode) for name, field in fields.items()},
            required=[name for name, field in fields.items() if is_required(field, mode)] or None,
            additional_properties=None if mode is SchemaMode.RESPONSE else False,
        )
        self.add_manual_fields(serializer, schema)
        return schema

    def property_schema(self, field: Any, mode: SchemaMode) -> Schema:
        schema: Schema = self.probe_field_inspectors(field, openapi.Schema, self.use_definitions)
        if schema is None:
            raise TypeError(f"there is no schema for {type(field).__name__} {field.field_name}")
        schema.pop("title", None)
        if mode is SchemaMode.RESPONSE or field.root.partial:
            schema.pop("default", None)
        if schema.get("type") == openapi.TYPE_INTEGER:
            schema.setdefault("format", "int64")
        if field.allow_null and "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
        if mode is not SchemaMode.RESPONSE and field.read_only:
            schema["readOnly"] = True
        if mode is SchemaMode.RESPONSE and not is_required(field, mode):
            schema["x-optional"] = True
        return schema


def is_required(field: Field, mode: SchemaMode) -> bool:
    """Return whether a field is always present. Swagger 2.0 allows no read-only property to be required in a body."""
    if mode is SchemaMode.RESPONSE:  # DRF omits a field that is not required and that the object does not have
        is_present = field.read_only or field.default is not empty or isinstance(field.parent, ModelSerializer)
        return field.required or is_present
    names_row = field.field_name == "id"  # a change at the collection names its row by id
    return field.required and not field.read_only and (names_row or not field.root.partial)


class FieldInspector(inspectors.FieldInspector):
    """Describes fields by their `Meta.swagger_schema`, in bodies `Meta.swagger_body_schema`, or else by `schemas`."""

    def field_to_swagger_object(self, field: Any, swagger_object_type: Any, use_references: bool, **kwargs: Any) -> Any:
        meta = getattr(field, "Meta", None)
        schema = getattr(meta, "swagger_schema", value_schema(field))
        if get_mode(field) is not SchemaMode.RESPONSE:
            schema = getattr(meta, "swagger_body_schema", schema)
        if schema is None:
            return inspectors.NotHandled
        swagger_type, _ = self._get_partial_types(field, swagger_object_type, use_references, **kwargs)
        described = swagger_type(use_field_title=False, **{"type": openapi.TYPE_STRING} | schema)
        if "type" not in schema:  # any type, but drf-yasg requires one
            del described["type"]
        return described


class FilterInspector(inspectors.FilterInspector):
    def get_filter_parameters(self, filter_backend: Any) -> list[openapi.Parameter]:
        filterset = self.view.filterset_class
        return [parameter(name, each) for name, each in filterset.base_filters.items()] if filterset else []


def parameter(name: str, filter_: Any) -> openapi.Parameter:
    schema, text = value_schema(filter_), filter_.extra.get("help_text", "")
    if schema is None:
        raise TypeError(f"there is no schema for {type(filter_).__name__} {name}")
    if isinstance(filter_, filters.StrictBooleanFilter):
        text = f"{text} `true` or `false`, in any case (`True` is fine).".strip()
    return openapi.Parameter(name, openapi.IN_QUERY, text or None, required=False, **schema)


class PaginatorInspector(inspectors.PaginatorInspector):
    def get_paginator_parameters(self, paginator: Any) -> list[openapi.Parameter]:
        view = self.view
        if not view.query_parameters:
            return []
        ranks = [pagination.RELEVANCE] if view.ranks_search else []
        names = [sign + name for name in view.ordering_fields for sign in ("", "-")] + ranks
        sizes = {"minimum": 1, "maximum": paginator.max_size, "default": paginator.default_size}
        known = [
            ("ordering", ORDERING + (RANKED if ranks else ""), {"enum": names, "default": view.default_ordering}),
            ("page_size", "The number of rows on a page.", {"type": "integer", **sizes}),
            ("cursor", CURSOR, {"maxLength": MAX_PARAMETER_LENGTH}),
        ]
        return [
            openapi.Parameter(name, openapi.IN_QUERY, text, required=False, **{"type": "string"} | schema)
            for name, text, schema in known
            if name in view.query_parameters
        ]

    def get_paginated_response(self, paginator: Any, response_schema: openapi.SchemaRef) -> openapi.SchemaRef:
        link = {"type": "string", "format": "uri-reference", "x-nullable": True, "description": LINK}
        properties = {"next": link, "previous": link, "results": {"type": "array", "items": response_schema}}
        page = openapi.Schema(type=openapi.TYPE_OBJECT, required=list(properties), properties=properties)
        definitions = self.components.with_scope(openapi.SCHEMA_DEFINITIONS)
        name = response_schema["$ref"].rpartition("/")[2] + "Page"
        definitions.setdefault(name, lambda: page)
        return openapi.SchemaRef(definitions, name)
