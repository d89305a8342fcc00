"""Validation of accounts from the user service."""

import pytest

from directory.person import Person

ROW = {
    "id": 105,
    "username": "nora",
    "email": "nora@tm.example",
    "role": "user",
    "is_active": True,
    "epoch": 3,
    "least_epoch": 2,
    "position": 1007,
}
NUMBERS = ("id", "position", "epoch", "least_epoch")


def test_it_works():
    assert Person.from_row(ROW) == Person(**ROW, is_deleted=False)


def test_unknown_fields_are_ignored():
    assert Person.from_row(ROW | {"phone": "112", "groups": [], "date_joined": None}) == Person.from_row(ROW)


def test_is_deleted_in_a_row_is_ignored():
    assert Person.from_row(ROW | {"is_deleted": True}) == Person.from_row(ROW)


def test_a_row_of_the_feed_has_a_position():
    row = {name: value for name, value in ROW.items() if name != "position"}

    assert Person.from_row(row, position=1007) == Person.from_row(ROW)
    assert Person.from_row(ROW, position=1008).position == 1008


def test_a_deleted_account_has_only_its_id():
    assert Person.deleted(105, 1008) == Person(
        id=105,
        username="",
        email="",
        role="user",
        is_active=False,
        is_deleted=True,
        epoch=0,
        least_epoch=0,
        position=1008,
    )


@pytest.mark.parametrize(
    "values",
    [
        *({"role": role} for role in ("admin", "user")),
        {"id": 1, "position": 1, "epoch": 0, "least_epoch": 0},
        dict.fromkeys(NUMBERS, 2**63 - 2),
        {"id": 2**63 - 1, "position": 2**63 - 1},
        {"email": ""},
        {"is_active": False},
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
        *({name: value} for name in NUMBERS for value in (True, False, 1.0, "1", None, [1], -1, 2**63, 10**30)),
        *({name: 0} for name in ("id", "position")),
        *({"username": value} for value in ("", None, 7, True, ["nora"], {})),
        *({"email": value} for value in (None, 7, False, ["nora@tm.example"])),
        *({"role": value} for value in ("root", "Admin", "", "admin ", None, True, ["admin"], {"admin": True})),
        *({"is_active": value} for value in (1, 0, "true", None, [True])),
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


@pytest.mark.parametrize("row", [None, [], "nora", 7, True, [["id", 105]]], ids=repr)
def test_a_row_that_is_not_an_object_is_rejected(row):
    with pytest.raises(TypeError):
        Person.from_row(row)


@pytest.mark.parametrize(("id_", "position"), [(0, 1), (2**63, 1), (True, 1), (1, 0), (1, 2**63), (1, 1.5), (None, 1)])
def test_a_deletion_needs_an_id_and_a_position(id_, position):
    with pytest.raises((TypeError, ValueError)):
        Person.deleted(id_, position)
