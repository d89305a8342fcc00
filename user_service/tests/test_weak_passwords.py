"""Weak passwords, at every endpoint and command that takes a new one."""

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Mail, PasswordToken, User
from chassis.testing.permission_table import rows_of_all_tables

pytestmark = pytest.mark.django_db

INVISIBLE = "\u200b\u2060\u00ad\u3164\u2800\u180e\ufeff\u200d"
WEAK = {
    "zero width": (INVISIBLE, "no visible characters"),
    "blanks": (" " * 12, "no visible characters"),
    "wide blanks": ("\u2003\u3000" * 6, "no visible characters"),
    "one visible character": ("a" + "\u200b" * 11, "repeats a short block"),
    "one character": ("a" * 12, "repeats a short block"),
    "one emoji": ("\U0001f600" * 8, "repeats a short block"),
    "one character with blanks": ("z z z z z z", "repeats a short block"),
    "a block": ("xy9xy9xy9xy9", "repeats a short block"),
    "a block that is cut off": ("wq7wq7wq", "repeats a short block"),
    "a word twice": ("gx4vbn1gx4vbn1", "repeats a short block"),
    "the name": ("tmservice", "name of the service"),
    "the name with a year": ("TMService-2026!", "name of the service"),
    "the name in full width": ("\uff34\uff2d\uff53\uff45\uff52\uff56\uff49\uff43\uff45123", "name of the service"),
    "the name twice": ("tmservice tmservice", "name of the service"),
    "the name with an article": ("my_tm.service", "name of the service"),
    "a listed one": ("correcthorsebatterystaple", "too common"),
    "a listed one in capitals": ("CORRECTHORSEBATTERYSTAPLE", "too common"),
    "a listed one in full width": ("\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44", "too common"),
    "a listed one with a tail": ("Dragon2026!", "too common"),
    "a listed one with blanks": ("  password  ", "too common"),
}
STRONG = [
    "seven green bicycles",
    "pässwörter sind müde",
    "日本語のパスワード",
    "kV7#pq2x",
    "a tm service of my own choosing",
    "nine orange lanterns" * 12 + "0123456789abcdef",  # 256 characters
]
# All accounts in these tests are called Alice, or get that name.
REFUSED = [
    ("short1", "too short"),
    ("sunshine1", "too common"),
    ("84027591630217", "entirely numeric"),
    ("Alice2026", "too similar to the username"),
    ("alice@example.com", "too similar to the email"),
    ("7" + "x" * 1024, "at most 1024 bytes"),
    (INVISIBLE, "no visible characters"),
    ("aaaaaaaaaaaa", "repeats a short block"),
    ("TMService2026", "name of the service"),
    ("correcthorsebatterystaple", "too common"),
    ("", "blank"),
    (8402759163, "a string"),
    (["nine orange lanterns"], "a string"),
]


def register(client, password):
    return client.post("/user/register/", {"username": "Alice", "email": "alice@example.com", "password": password})


@pytest.mark.parametrize(("password", "reason"), WEAK.values(), ids=WEAK)
def test_a_weak_password_is_refused(client, password, reason):
    answer = register(client, password)

    assert answer.status_code == 400
    assert any(reason in error["detail"] for error in answer.json()["errors"])
    assert not User.objects.exists()


def test_each_reason_is_given(client):
    details = [error["detail"] for error in register(client, "12345678").json()["errors"]]

    assert ["too common" in details[0], "entirely numeric" in details[1]] == [True, True]


@pytest.mark.parametrize("password", STRONG)
def test_a_strong_password_is_accepted(client, password):
    assert register(client, password).status_code == 201
    assert client.post("/token/", {"username": "Alice", "password": password}).status_code == 200


@pytest.mark.parametrize(("weak", "reason"), REFUSED, ids=ascii)
def test_every_endpoint_refuses_a_weak_password(
    client, client_of, ada, alice, password, hash_computations, weak, reason
):
    """A reset keeps its token, and no session ends."""
    token = PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)
    own, admin = client_of(alice), client_of(ada)
    before = rows_of_all_tables()

    answers = [
        register(client, weak),
        admin.post("/user/users/", {"username": "Alice", "email": "alice@example.com", "password": weak}),
        own.post("/user/me/password/", {"current_password": password, "new_password": weak}),
        client.post("/user/password-reset/confirm/", {"token": token, "new_password": weak}),
    ]

    fields = ["password", "password", "new_password", "new_password"]
    for answer, field in zip(answers, fields, strict=True):
        errors = answer.json()["errors"]
        assert (answer.status_code, {error["field"] for error in errors}) == (400, {field})
        assert any(reason in error["detail"] for error in errors)
    assert rows_of_all_tables() == before
    assert hash_computations == []


def test_similarity_is_checked_against_the_current_account(client_of, alice, password):
    client = client_of(alice)
    client.patch("/user/me/", {"username": "Wilhelmina", "current_password": password})

    answer = client.post("/user/me/password/", {"current_password": password, "new_password": "wilhelmina1"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "new_password")


@pytest.mark.parametrize("weak", [weak for weak, _ in REFUSED if weak and isinstance(weak, str)], ids=ascii)
def test_the_first_admin_cannot_have_a_weak_password(monkeypatch, weak):
    for name, value in {"USERNAME": "Alice", "EMAIL": "alice@example.com", "PASSWORD": weak}.items():
        monkeypatch.setenv(f"ADMIN_{name}", value)

    with pytest.raises(CommandError, match=r"^ADMIN_PASSWORD cannot be used: [^\n]+\.$") as refusal:
        call_command("ensure_admin")

    assert weak not in str(refusal.value)
    assert not User.objects.exists()
