"""Checks of all inputs, for the tests of both services."""

import json

import django_filters
from rest_framework import serializers

from chassis.api.fields import CappedField
from chassis.api.serializers import StrictSerializer
from chassis.testing.cpu import find_serializer_class, routes

JUNK = "".join(chr(0x61 + number % 26) for number in range(997))
MAX_REPEATED = 110


def uncapped_texts(*packages):
    """Yield each text field of serializers and filters in these packages without a maximum length."""
    for each in subclasses(StrictSerializer):
        if each.__module__.startswith(packages):
            for name, field in each().fields.items():
                is_text = isinstance(field, serializers.CharField) and not field.read_only
                if is_text and not (isinstance(field, CappedField) and field.max_length):
                    yield f"{each.__name__}.{name}"
    for each in subclasses(django_filters.FilterSet):
        for name, filter_ in each.base_filters.items():
            if isinstance(filter_, django_filters.CharFilter) and not filter_.extra.get("max_length"):
                yield f"{each.__name__}.{name}"


def subclasses(kind):
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def echoes(*clients):
    """Yield each call whose response repeats too much of the request."""
    long = JUNK * 2
    bodies = ({long: 1}, {"a": {long: 1}}, {"set": {long: long}}, {"id": long}, [long], long)
    raw = [json.dumps(body) for body in bodies] + [f'{{"{long}": 1, "{long}": 2}}', long]
    for path, view in routes():
        fields = find_serializer_class(getattr(view, "cls", None))
        filters = getattr(getattr(view, "cls", None), "filterset_class", None)
        texts = [*raw, json.dumps(dict.fromkeys(getattr(fields(), "fields", ()) if fields else (), long))]
        names = [long, "ordering", "cursor", "page_size", "ids", "after", *(filters.base_filters if filters else ())]
        for client in clients:
            calls = [
                client.generic(method, path, text, content_type="application/json")
                for method in ("POST", "PUT", "PATCH", "DELETE")
                for text in texts
            ]
            calls += [client.get(path, {name: JUNK}) for name in names]
            calls += [
                client.generic("POST", path, "{}", content_type=kind) for kind in (long, f"application/json;{long}")
            ]
            calls += [
                client.generic("POST", path, "{}", headers={name: JUNK}, content_type="application/json")
                for name in ("If-Match", "Idempotency-Key", "Authorization", "Content-Encoding")
            ]
            calls.append(client.get(f"{path}{long}"))
            yield from (
                f"{each.request['REQUEST_METHOD']} {path}"
                for each in calls
                if JUNK[:MAX_REPEATED] in response_text(each)
            )


def response_text(answer):
    return "" if answer.streaming else answer.content.decode()
