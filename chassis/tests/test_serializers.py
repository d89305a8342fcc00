from types import SimpleNamespace

import pytest
from rest_framework import serializers

from chassis.api import fields
from chassis.api.serializers import OutputSerializer, StrictModelSerializer, StrictSerializer
from chassis.tests.outbox_app.models import Letter


class TaskSerializer(StrictSerializer):
    id = fields.IdField(read_only=True)
    title = fields.SingleLineField(max_length=10)
    is_urgent = fields.StrictBooleanField(default=False)
    is_overdue = serializers.BooleanField(read_only=True)
    note = serializers.CharField(write_only=True, required=False)

    def update(self, instance, validated_data):
        return validated_data


def task():
    return SimpleNamespace(id=1, title="Sweep", is_urgent=True, is_overdue=True)


def problems_with(data, **options):
    serializer = TaskSerializer(data=data, **options)
    assert not serializer.is_valid()
    return {field: [(str(error), error.code) for error in errors] for field, errors in serializer.errors.items()}


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        *((name, "Unknown field; did you mean title?") for name in ("titel", "Title")),
        ("is_urgnt", "Unknown field; did you mean is_urgent?"),
        *((name, "Unknown field.") for name in ("password", "__proto__", "", "x" * 100_000, "is_overdu")),
    ],
    ids=lambda value: value[:20],
)
def test_an_unknown_field_gets_a_suggestion_if_it_can_be_sent(name, detail):
    assert problems_with({"title": "Sweep", name: 1}) == {name: [(detail, "unknown_field")]}


def test_all_errors_are_reported_at_once():
    assert problems_with({"titel": "x", "id": 5, "is_urgent": "yes"}) == {
        "title": [("This field is required.", "required")],
        "is_urgent": [("Must be true or false.", "invalid")],
        "titel": [("Unknown field; did you mean title?", "unknown_field")],
        "id": [("Is set by the server; remove it.", "read_only")],
    }


@pytest.mark.parametrize(
    ("instance", "sent", "partial", "validated"),
    [
        (None, {"title": "Sweep"}, False, {"title": "Sweep", "is_urgent": False}),
        (task(), {**TaskSerializer(task()).data, "title": "Mop"}, False, {"title": "Mop", "is_urgent": True}),
        (task(), {**TaskSerializer(task()).data, "title": "Mop"}, True, {"title": "Mop", "is_urgent": True}),
        (task(), {"is_urgent": False}, True, {"is_urgent": False}),
    ],
    ids=["create", "put sends back", "patch sends back", "patch one field"],
)
def test_listed_fields_and_unchanged_read_only_ones_are_accepted(instance, sent, partial, validated):
    serializer = TaskSerializer(instance, data=sent, partial=partial)

    assert serializer.is_valid()
    assert serializer.validated_data == validated


@pytest.mark.parametrize(
    ("name", "value"),
    [("id", 2), ("id", "1"), ("id", True), ("id", 1.0), ("id", None), ("is_overdue", False), ("is_overdue", 1)],
)
def test_read_only_fields_cannot_be_changed(name, value):
    assert problems_with({"title": "Mop", name: value}, instance=task()) == {
        name: [("Is set by the server and cannot be changed.", "read_only")]
    }


@pytest.mark.parametrize("data", [[], ["title"], "title", 1, True])
def test_a_body_that_is_not_an_object_is_rejected(data):
    assert list(problems_with(data)) == ["non_field_errors"]


def test_a_model_is_updated_through_change():
    changes = []
    instance = SimpleNamespace(change=lambda **values: changes.append(values))

    assert StrictModelSerializer().update(instance, {"title": "Mop"}) is instance
    assert changes == [{"title": "Mop"}]


class PairSerializer(OutputSerializer):
    left = fields.AnyField()


class RowSerializer(OutputSerializer):
    name = fields.NullableTextField(source="owner.name")
    owner = fields.UserReferenceField()
    pair = PairSerializer(source="*")
    read_at = fields.InstantField(allow_null=True)


def test_an_output_serializer_shows_nested_attributes_and_null():
    owner = SimpleNamespace(pk=7, username="ada", name="")
    shown = {"name": None, "owner": {"id": 7, "username": "ada"}, "pair": {"left": [1]}, "read_at": None}
    row = SimpleNamespace(owner=owner, left=[1], read_at=None)

    assert RowSerializer(row).data == shown
    assert RowSerializer([row, row], many=True).data == [shown, shown]


def test_an_output_serializer_needs_every_attribute():
    with pytest.raises(AttributeError, match="read_at"):
        _ = RowSerializer(SimpleNamespace(owner=SimpleNamespace(pk=7, username="ada", name="Ada"), left=1)).data


class LetterSerializer(StrictModelSerializer):
    channel = fields.StringField(default="email", max_length=5)
    text = fields.StringField(max_length=5)
    state = fields.StringField(read_only=True, default="planned")

    class Meta:
        model = Letter
        fields = ["channel", "text", "state"]


def test_fields_that_validate_are_bound_once_per_class_and_not_changed_by_use():
    def outcome(data, **options):
        serializer = LetterSerializer(data=data, **options)
        return serializer.validated_data if serializer.is_valid() else serializer.errors

    for _ in range(2):
        assert outcome({"text": "hello"}) == {"channel": "email", "text": "hello"}
        assert outcome({}) == {"text": ["This field is required."]}
        assert outcome({}, partial=True) == {}
        assert outcome({"text": "farewell"}, partial=True) == outcome({"text": "farewell"})
        assert outcome({"text": "hello", "state": "sent"}) == {"state": ["Is set by the server; remove it."]}

    first, second = (LetterSerializer(data={}).input_fields["text"] for _ in range(2))
    assert first is second
    assert LetterSerializer().fields["text"] is not first
