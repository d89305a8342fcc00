import pytest

from accounts.models import User
from chassis.testing.mail_addresses import REFUSED

pytestmark = pytest.mark.django_db

URL = "/user/register/"
BARBARA = {"username": "Barbara", "email": "barbara@example.com", "password": "seven green bicycles"}


def test_registration_creates_a_user(client):
    answer = client.post(URL, BARBARA)

    user = User.objects.get()
    assert answer.status_code == 201
    assert answer.json() == {
        "id": user.pk,
        "username": "Barbara",
        "email": "barbara@example.com",
        "role": "user",
        "is_active": True,
        "date_joined": user.date_joined.isoformat().replace("+00:00", "Z"),
        "invitation": None,
        "invited_at": None,
    }


def test_a_registered_user_can_sign_in(client):
    client.post(URL, BARBARA)

    answer = client.post("/token/", {"username": "Barbara", "password": BARBARA["password"]})

    assert answer.status_code == 200


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u00a0", "\f", "\u2028"], ids=ascii)
def test_whitespace_around_username_and_email_is_trimmed(client, end):
    created = client.post(URL, {**BARBARA, "username": f"Barbara{end}", "email": f"{end}barbara@example.com{end}"})
    signed_in = client.post("/token/", {"username": f"barbara@example.com{end}", "password": BARBARA["password"]})

    assert (created.json()["username"], created.json()["email"]) == ("Barbara", "barbara@example.com")
    assert signed_in.status_code == 200


@pytest.mark.parametrize("role", ["admin", "ADMIN"])
def test_an_anonymous_caller_cannot_register_an_admin(client, role):
    answer = client.post(URL, {**BARBARA, "role": role})

    assert answer.status_code == 403
    assert not User.objects.exists()


def test_a_user_cannot_register_an_admin(client_of, alice):
    answer = client_of(alice).post(URL, {**BARBARA, "role": "admin"})

    assert answer.status_code == 403
    assert User.objects.get() == alice


def test_a_demoted_admin_cannot_register_an_admin(client_of, ada, grace):
    client = client_of(ada)
    client_of(grace).patch(f"/user/users/{ada.pk}/", {"role": "user"})

    answer = client.post(URL, {**BARBARA, "role": "admin"})

    assert answer.status_code == 403


def test_an_admin_registers_an_admin(client_of, ada):
    answer = client_of(ada).post(URL, {**BARBARA, "role": "admin"})

    assert (answer.status_code, answer.json()["role"]) == (201, "admin")
    assert User.objects.get(username="Barbara").is_admin


@pytest.mark.parametrize("role", ["superuser", "", None, 1, True, ["admin"], {"role": "admin"}])
def test_an_unknown_role_is_refused(client, role):
    answer = client.post(URL, {**BARBARA, "role": role})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "role")
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_staff", True),
        ("is_superuser", True),
        ("is_active", False),
        ("id", 1),
        ("groups", [1]),
        ("user_permissions", [1]),
        ("date_joined", "2020-01-01T00:00:00Z"),
        ("last_login", "2020-01-01T00:00:00Z"),
        ("username_key", "somebody"),
        ("user", {"role": "admin"}),
        ("user.role", "admin"),
        ("__proto__", {"role": "admin"}),
    ],
)
def test_an_unknown_field_is_refused(client_of, ada, name, value):
    answer = client_of(ada).post(URL, {**BARBARA, name: value})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "unknown_field")]
    assert User.objects.get() == ada


def test_a_misspelt_field_gets_a_suggestion(client):
    answer = client.post(URL, {"username": "Barbara", "emial": "barbara@example.com", "password": BARBARA["password"]})

    details = {error["field"]: error["detail"] for error in answer.json()["errors"]}
    assert answer.status_code == 400
    assert details["emial"] == "Unknown field; did you mean email?"


@pytest.mark.parametrize("name", ["username", "email", "password"])
def test_each_field_is_required(client, name):
    answer = client.post(URL, {key: value for key, value in BARBARA.items() if key != name})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "required")]


@pytest.mark.parametrize("username", ["Bob", "bob", "BOB ", " bOb"])
def test_every_spelling_of_a_used_name_is_taken(client, bob, username):
    answer = client.post(URL, {**BARBARA, "username": username})

    assert answer.status_code == 409
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("username", "taken")]
    assert User.objects.get() == bob


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@example.com", "bob@EXAMPLE.com", " Bob@Example.Com "])
def test_every_spelling_of_a_used_address_is_taken(client, bob, email):
    answer = client.post(URL, {**BARBARA, "email": email})

    assert answer.status_code == 409
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("email", "taken")]
    assert User.objects.get() == bob


def test_a_duplicate_address_is_not_blamed_on_the_username(client, person):
    email = "username_is_taken@example.com"
    person("Eve", email=email)

    answer = client.post(URL, {**BARBARA, "email": email})

    assert answer.status_code == 409
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("email", "taken")]


@pytest.mark.parametrize("username", ["admin", "Admin", "ROOT", "me", "none", "null", "system", "internal"])
def test_a_reserved_name_is_refused(client, username):
    answer = client.post(URL, {**BARBARA, "username": username})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("username", "reserved")]


@pytest.mark.parametrize(
    "username",
    [
        "",
        "   ",
        ".",
        "..",
        "-bob",
        "bob.",
        "bob smith",
        "bob@example.com",
        "bob/ada",
        "bob%2fada",
        "bob\nada",
        "bob\u200b",
        "b\u043eb",  # Cyrillic o
        "\uff42\uff4f\uff42",  # full-width bob
        "\u24d1ob",  # circled b
        "bo\u0131",  # dotless i
        "\u0661\u0662",  # Arabic digits
        "b" * 65,
        42,
        None,
        ["Bob"],
        {"$ne": "Bob"},
    ],
)
def test_a_misleading_name_is_refused(client, username):
    answer = client.post(URL, {**BARBARA, "username": username})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "username")
    assert not User.objects.exists()


@pytest.mark.parametrize("email", [*REFUSED, "", 7, None], ids=ascii)
def test_an_invalid_address_is_refused(client, email):
    answer = client.post(URL, {**BARBARA, "email": email})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "email")
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("password", "reasons"),
    [
        ("bicycle", ["too short"]),
        ("sunshine1", ["too common"]),
        ("84027591630217", ["entirely numeric"]),
        ("12345678", ["too common", "entirely numeric"]),
        ("barbara77", ["too similar to the username"]),
        ("BARBARA@example.com", ["too similar to the email"]),
        ("7" + "x" * 1024, ["at most 1024 bytes"]),
        ("", ["blank"]),
        (8402759163, ["a string"]),
        (None, ["null"]),
    ],
)
def test_a_weak_password_is_refused_with_each_reason(client, password, reasons):
    answer = client.post(URL, {**BARBARA, "password": password})

    errors = answer.json()["errors"]
    assert answer.status_code == 400
    assert {error["field"] for error in errors} == {"password"}
    assert [reason for reason in reasons if any(reason in error["detail"] for error in errors)] == reasons
    assert not User.objects.exists()


def test_whitespace_around_a_password_is_part_of_it(client):
    client.post(URL, {**BARBARA, "password": "  seven green bicycles  "})

    as_sent = client.post("/token/", {"username": "Barbara", "password": "  seven green bicycles  "})
    trimmed = client.post("/token/", {"username": "Barbara", "password": "seven green bicycles"})

    assert (as_sent.status_code, trimmed.status_code) == (200, 401)


@pytest.mark.django_db(transaction=True)  # with the production hasher
def test_the_password_is_stored_as_one_small_argon2id_hash(client, hash_computations):
    client.post(URL, BARBARA)

    assert User.objects.get().password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_computations == ["encode"]


def test_an_account_cannot_be_registered_twice_by_a_retry(client):
    first, second = client.post(URL, BARBARA), client.post(URL, BARBARA)

    assert (first.status_code, second.status_code) == (201, 409)
    assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("contested", ["username", "email"])
def test_one_of_eight_parallel_registrations_gets_the_name(client, at_once, contested):
    def registering(round_, number):
        values = {"username": f"Eve{round_}-{number}", "email": f"eve{round_}-{number}@example.com"}
        shared = f"Dora{round_}" if contested == "username" else f"dora{round_}@example.com"
        values[contested] = shared.upper() if number % 2 else shared
        return lambda: client.post(URL, {**BARBARA, **values}).status_code

    for round_ in range(5):
        statuses = at_once(*(registering(round_, number) for number in range(8)))

        assert sorted(statuses) == [201] + [409] * 7
        assert User.objects.count() == round_ + 1
