"""Serializers that accept only the fields they list."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import islice
from operator import attrgetter
from typing import Any

from django.db import models
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import empty

from chassis.api.fields import InstantField

MAX_COMPARED_LENGTH = 64  # characters; no field name is longer
MAX_REPORTED_ERRORS = 20  # a body may contain 50,000 unknown names


class StrictSerializer(serializers.Serializer):
    """Rejects unknown fields and suggests the closest known one.

    Read-only fields are rejected on creation. On updates they are accepted if unchanged, so GET, edit, PUT works.
    """

    def to_internal_value(self, data: Any) -> Any:
        errors: dict[str, Any] = (
            dict(islice(self.unexpected(data), MAX_REPORTED_ERRORS)) if isinstance(data, Mapping) else {}
        )
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            if isinstance(error.detail, dict):
                error.detail.update(errors)
            raise
        if errors:
            raise ValidationError(errors)
        return value

    def unexpected(self, data: Mapping[str, Any]) -> Iterable[tuple[str, list[ErrorDetail]]]:
        fields = self.input_fields
        read_only = {name for name in data if name in fields and fields[name].read_only}
        updating = self.instance is not None
        current = self.to_representation(self.instance) if updating and read_only else {}
        for name, value in data.items():
            if name not in fields:
                yield name, [ErrorDetail(unknown_name("field", name, self.writable_names()), code="unknown_field")]
            elif name in read_only and not updating:
                yield name, [ErrorDetail("Is set by the server; remove it.", code="read_only")]
            elif name in read_only and not json_equal(value, current[name]):
                yield name, [ErrorDetail("Is set by the server and cannot be changed.", code="read_only")]

    @property
    def input_fields(self) -> Mapping[str, serializers.Field[Any, Any, Any, Any]]:
        return self.fields

    def writable_names(self) -> list[str]:
        return [name for name, field in self.input_fields.items() if not field.read_only]


class FastOutput(serializers.Serializer):
    """Represents with fields that are bound once per class, not per instance, so they cannot use the context."""

    def to_representation(self, instance: Any) -> dict[str, Any]:
        values = [(name, read(instance), show) for name, read, show in readers(type(self))]
        return {name: None if value is None else show(value) for name, value, show in values}


class OutputSerializer(FastOutput):
    """For responses only."""


@cache
def readers(kind: type[FastOutput]) -> list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]:
    """Return the name, getter and JSON converter of each field."""
    fields = ((name, field) for name, field in kind().fields.items() if not field.write_only)
    return [
        (name, identity if field.source == "*" else attrgetter(str(field.source)), field.to_representation)
        for name, field in fields
    ]


def identity(instance: Any) -> Any:
    return instance


@cache
def shared_fields(
    kind: type["StrictModelSerializer"], partial: bool
) -> Mapping[str, serializers.Field[Any, Any, Any, Any]]:
    return kind(partial=partial).fields


class StrictModelSerializer(StrictSerializer, FastOutput, serializers.ModelSerializer):
    """The same for models; instances are updated with `change(**values)`.

    Fields that validate are bound once per class too, because DRF copies and binds them for each request.
    """

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: InstantField,
    }

    @property
    def input_fields(self) -> Mapping[str, serializers.Field[Any, Any, Any, Any]]:
        return shared_fields(type(self), self.partial)

    @property
    def _writable_fields(self) -> list[serializers.Field[Any, Any, Any, Any]]:
        return [field for field in self.input_fields.values() if not field.read_only]

    def _read_only_defaults(self) -> dict[str, Any]:
        fields = (field for field in self.input_fields.values() if field.read_only and field.default is not empty)
        return {} if self.partial else {str(field.source): field.get_default() for field in fields}

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        instance.change(**validated_data)
        return instance


def json_equal(sent: Any, current: Any) -> bool:
    """Compare JSON values; true is not 1."""
    return type(sent) is type(current) and bool(sent == current)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return an error message for an unknown name, with the closest known one."""
    near = get_close_matches(name, known, n=1) if len(name) <= MAX_COMPARED_LENGTH else []
    return f"Unknown {kind}; did you mean {near[0]}?" if near else f"Unknown {kind}."
