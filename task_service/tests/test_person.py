"""Validation of accounts from the user service."""

import pytest

from directory.person import Person

ROW = {"id": 105, "username": "nora", "email": "nora@tm.example", "role": "user", "is_active": True}
ROW |= {"epoch": 3, "min_valid_epoch": 2, "position": 1007}
NUMBERS = ("id", "position", "epoch", "min_valid_epoch")


def test_it_works():
    assert Person.from_row(ROW) == Person(**ROW, is_deleted=False)
    assert Person.from_row(ROW, position=1008).position == 1008


def test_the_previous_versions_field_name_is_read():
    row = {name: value for name, value in ROW.items() if name != "min_valid_epoch"}

    assert Person.from_row(row | {"least_epoch": 2}) == Person.from_row(ROW)


@pytest.mark.parametrize("values", [{"phone": "112", "groups": [], "date_joined": None}, {"is_deleted": True}], ids=str)
def test_unknown_fields_are_ignored(values):
    assert Person.from_row(ROW | values) == Person.from_row(ROW)


def test_a_deleted_account_has_only_its_id():
    empty = {"username": "", "email": "", "role": "user", "is_active": False, "epoch": 0, "min_valid_epoch": 0}

    assert Person.deleted(105, 1008) == Person(id=105, position=1008, is_deleted=True, **empty)


@pytest.mark.parametrize(
    "values",
    [
        {"role": "admin", "email": "", "is_active": False},
        {"id": 1, "position": 1, "epoch": 0, "min_valid_epoch": 0},
        dict.fromkeys(NUMBERS, 2**63 - 2),
        {"id": 2**63 - 1, "position": 2**63 - 1},
        {"username": "\u5f20\u4f1f \U0001f331 " * 100},
    ],
    ids=ascii,
)
def test_valid_values_are_kept(values):
    person = Person.from_row(ROW | values)

    assert {name: getattr(person, name) for name in values} == values


@pytest.mark.parametrize(
    "values",
    [
        *({name: value} for name in NUMBERS for value in (True, 1.0, "1", None, -1, 2**63)),
        *({name: 0} for name in ("id", "position")),
        *({"username": value} for value in ("", None, 7, ["nora"])),
        *({"email": value} for value in (None, 7, ["nora@tm.example"])),
        *({"role": value} for value in ("root", "Admin", "", "admin ", None, True, ["admin"], {"admin": True})),
        *({"is_active": value} for value in (1, 0, "true", None)),
    ],
    ids=ascii,
)
def test_invalid_values_are_rejected(values):
    with pytest.raises((TypeError, ValueError)):
        Person.from_row(ROW | values)


@pytest.mark.parametrize("name", sorted(ROW))
def test_every_field_is_required(name):
    with pytest.raises(KeyError, match=name):
        Person.from_row({key: value for key, value in ROW.items() if key != name})


@pytest.mark.parametrize("row", [None, [], "nora", 7, [["id", 105]]], ids=repr)
def test_a_row_that_is_not_an_object_is_rejected(row):
    with pytest.raises(TypeError):
        Person.from_row(row)


@pytest.mark.parametrize(("id_", "position"), [(0, 1), (2**63, 1), (True, 1), (1, 0), (1, 2**63), (1, 1.5), (None, 1)])
def test_a_deletion_needs_an_id_and_a_position(id_, position):
    with pytest.raises((TypeError, ValueError)):
        Person.deleted(id_, position)
