"""Valid usernames, and names and addresses that are taken, at every endpoint that takes them."""

import pytest

from accounts.models import Mail, User
from chassis.testing.permission_table import rows_of_all_tables
from tests.conftest import field_errors

pytestmark = pytest.mark.django_db

EVE = {"email": "eve@example.com", "password": "eight red balloons"}
MISLEADING = ["", "   ", ".", "..", "-bob", "bob.", "bob smith", "bob@example.com", "bob/ada", "bob%2fada", "bob\nada"]
MISLEADING += ["Bob\r\nBcc: eve@example.com", "Bob <eve@example.com>", "bob\u200b", "\u0661\u0662"]
MISLEADING += ["b\u043eb", "\uff42\uff4f\uff42", "\u24d1ob", "bo\u0131"]  # Cyrillic, full-width, circled, dotless
MISLEADING += ["b" * 65, 42, None, ["Bob"], {"$ne": "Bob"}]
RESERVED = ["Admin", "ROOT", "Support", "administrator", "anonymous", "api", "internal", "me", "none", "null"]
RESERVED += ["security", "system"]


@pytest.mark.parametrize("username", MISLEADING, ids=ascii)
def test_every_endpoint_refuses_a_misleading_name(client, client_of, ada, alice, password, username):
    admin, own = client_of(ada), client_of(alice)
    before = rows_of_all_tables()

    answers = [
        client.post("/user/register/", {**EVE, "username": username}),
        admin.post("/user/users/", {**EVE, "username": username}),
        admin.patch(f"/user/users/{alice.pk}/", {"username": username}),
        own.patch("/user/me/", {"username": username, "current_password": password}),
    ]

    problems = [(answer.status_code, {error["field"] for error in answer.json()["errors"]}) for answer in answers]
    assert problems == [(400, {"username"})] * 4
    assert rows_of_all_tables() == before


@pytest.mark.parametrize("username", RESERVED)
def test_only_admins_assign_a_reserved_name(client, client_of, ada, alice, password, username):
    answers = [
        client.post("/user/register/", {**EVE, "username": username}),
        client_of(alice).patch("/user/me/", {"username": username, "current_password": password}),
    ]
    given = client_of(ada).post("/user/users/", {**EVE, "username": username})

    assert [(answer.status_code, field_errors(answer)) for answer in answers] == [(400, [("username", "reserved")])] * 2
    assert (given.status_code, given.json()["username"]) == (201, username)


@pytest.mark.parametrize(
    ("field", "value"),
    [("username", "BOB"), ("username", " bOb "), ("email", "bob@EXAMPLE.com"), ("email", " Bob@Example.Com ")],
)
def test_every_spelling_of_a_used_name_or_address_is_taken(client, client_of, ada, alice, bob, password, field, value):
    before = list(User.objects.values())
    eve = {"username": "Eve", "email": "eve@example.com", field: value}

    answers = [
        client.post("/user/register/", {**eve, "password": password}),
        client_of(ada).post("/user/users/", {**eve, "password": password}),
        client_of(ada).post("/user/users/", eve),
        client_of(ada).patch(f"/user/users/{alice.pk}/", {field: value}),
        client_of(alice).patch("/user/me/", {field: value, "current_password": password}),
    ]

    assert [(answer.status_code, field_errors(answer)) for answer in answers] == [(409, [(field, "taken")])] * 5
    assert (list(User.objects.values()), Mail.objects.count()) == (before, 0)


def test_a_duplicate_address_is_not_blamed_on_the_username(client, person):
    eve = {**EVE, "email": "username_is_taken@example.com"}
    person("Alice", email=eve["email"])

    answer = client.post("/user/register/", {**eve, "username": "Eve"})

    assert (answer.status_code, field_errors(answer)) == (409, [("email", "taken")])
