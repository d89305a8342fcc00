"""Weak passwords, at every endpoint and command that takes a new one."""

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Mail, PasswordToken, User

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
]


def register(client, password):
    return client.post("/user/register/", {"username": "Eve", "email": "eve@example.org", "password": password})


def reasons(answer):
    return " ".join(error["detail"] for error in answer.json()["errors"])


@pytest.mark.parametrize(("password", "reason"), WEAK.values(), ids=WEAK)
def test_a_weak_password_is_refused(client, password, reason):
    answer = register(client, password)

    assert (answer.status_code, reason in reasons(answer)) == (400, True)
    assert not User.objects.exists()


@pytest.mark.parametrize("password", STRONG)
def test_a_strong_password_is_accepted(client, password):
    assert register(client, password).status_code == 201


@pytest.mark.parametrize("weak", ["\u200b" * 12, "aaaaaaaaaaaa", "TMService2026", "correcthorsebatterystaple"])
def test_every_endpoint_refuses_a_weak_password(client, client_of, ada, alice, password, weak, monkeypatch):
    token = PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)
    before = User.objects.values_list("password", flat=True)
    stored = list(before)

    answers = [
        register(client, weak),
        client_of(ada).post("/user/users/", {"username": "Eve", "email": "eve@example.org", "password": weak}),
        client_of(alice).post("/user/me/password/", {"current_password": password, "new_password": weak}),
        client.post("/user/password-reset/confirm/", {"token": token, "new_password": weak}),
    ]

    assert [answer.status_code for answer in answers] == [400] * 4
    assert list(before.all()) == stored


@pytest.mark.parametrize("weak", ["\u200b" * 12, "aaaaaaaaaaaa", "TMService2026", "correcthorsebatterystaple"])
def test_the_first_admin_cannot_have_a_weak_password(db, monkeypatch, weak):
    monkeypatch.setenv("ADMIN_PASSWORD", weak)

    with pytest.raises(CommandError, match="ADMIN_PASSWORD cannot be used"):
        call_command("ensure_admin")

    assert not User.objects.exists()
