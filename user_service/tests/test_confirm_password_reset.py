"""Setting a password by a mailed token: effects, refusals and races. When tokens are valid: test_mailed_tokens.py."""

import logging

import pytest
from django.db import connection

from accounts.hashers import SmallArgon2PasswordHasher
from accounts.models import Change, Mail, PasswordToken, Session, User
from chassis.testing.threads import wait_for_lock_waiter
from tests.conftest import confirm_reset as confirm
from tests.conftest import field_errors, login_status

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

URL = "/user/password-reset/confirm/"
NEW = "eight red balloons"


def token_for(user):
    return PasswordToken.objects.issue(user, Mail.Kind.PASSWORD_RESET)


def stored_rows():
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT row::text FROM "{table}" AS row')
            yield from (text for (text,) in cursor.fetchall())


def test_the_token_sets_the_password(client, alice, password, hash_computations):
    before, token = User.objects.values().get(), token_for(alice)

    answer = confirm(client, token, NEW)

    after = User.objects.values().get()
    assert (answer.status_code, answer.content) == (204, b"")
    assert hash_computations == ["encode"]
    assert {name for name in before if before[name] != after[name]} == {"password", "epoch", "min_valid_epoch"}
    assert after["epoch"] == before["epoch"] + 1
    assert Change.objects.get().user_id == alice.pk
    assert [login_status(client, "Alice", each) for each in (NEW, password)] == [200, 401]


def test_the_password_is_stored_exactly_as_sent(client, alice):
    confirm(client, token_for(alice), f"  {NEW}\u00e9 ")

    tried = [f"  {NEW}\u00e9 ", f"{NEW}\u00e9", f"  {NEW}e\u0301 "]
    assert [login_status(client, "Alice", each) for each in tried] == [200, 401, 401]


def test_other_accounts_are_unaffected(client, client_of, alice, bob):
    before, others, bobs_token = User.objects.filter(pk=bob.pk).values().get(), client_of(bob), token_for(bob)

    confirm(client, token_for(alice))

    assert User.objects.filter(pk=bob.pk).values().get() == before
    assert others.get("/user/me/").status_code == 200
    assert confirm(client, bobs_token).status_code == 204


def test_every_session_ends(client, client_of, alice):
    sessions = [client_of(alice), client_of(alice)]

    confirm(client, token_for(alice))

    assert not Session.objects.exists()
    assert [each.get("/user/me/").status_code for each in sessions] == [401, 401]
    refreshed = [client.post("/token/refresh/", {"refresh": each.refresh_token}).status_code for each in sessions]
    assert refreshed == [401, 401]


def test_a_reset_lifts_the_waits_of_all_logins(client, alice, bob):
    for _ in range(10):
        for login in ("alice@example.com", "Bob", "Alice"):
            login_status(client, login, "a wrong guess")
    assert [login_status(client, login, NEW) for login in ("Alice", "alice@example.com")] == [429, 429]

    confirm(client, token_for(alice), NEW)

    logins = ("Alice", "alice@example.com", "Bob")
    assert [login_status(client, login, NEW) for login in logins] == [200, 200, 429]


def test_a_reset_lifts_the_waits_of_devices_and_account(client, client_of, alice, password):
    assert login_status(client, "Alice", password) == 200
    guesser = client_of(alice)
    for _ in range(10):
        login_status(client, "Alice", "a wrong guess")
        guesser.post("/user/me/password/", {"current_password": "a wrong guess", "new_password": NEW})
    assert login_status(client, "Alice", password) == 429

    confirm(client, token_for(alice), NEW)

    right = {"current_password": NEW, "new_password": "nine red balloons"}
    assert login_status(client, "Alice", NEW) == 200
    assert client_of(alice).post("/user/me/password/", right).status_code == 204


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"token": ...}, ("token", "required")),
        ({"new_password": ...}, ("new_password", "required")),
        ({"email": "bob@example.com"}, ("email", "unknown_field")),
        ({"user": 1}, ("user", "unknown_field")),
        ({"role": "admin"}, ("role", "unknown_field")),
    ],
)
def test_an_invalid_body_is_refused(client, alice, change, error):
    body = {"token": token_for(alice), "new_password": NEW} | change

    answer = client.post(URL, {name: value for name, value in body.items() if value is not ...})

    assert (answer.status_code, field_errors(answer)) == (400, [error])
    assert PasswordToken.objects.exists()


# Secrets


def test_token_and_password_are_not_stored(client, alice):
    used, left = token_for(alice), token_for(alice)
    assert sum(left in row for row in stored_rows()) == 0
    assert sum(PasswordToken.objects.latest("id").token_hash in row for row in stored_rows()) == 1

    confirm(client, used, NEW)

    assert [row for row in stored_rows() if used in row or left in row or NEW in row] == []


def test_token_and_password_reach_neither_log_nor_response(client, alice, caplog):
    caplog.set_level(logging.DEBUG)
    token = token_for(alice)

    answers = [confirm(client, token, "Alice2026"), confirm(client, token, NEW), confirm(client, token, NEW)]
    answers.append(client.post(URL, {"token": token, "new_password": NEW, "user": 1}))

    assert [answer.status_code for answer in answers] == [400, 204, 400, 400]
    for secret in (token, NEW, "Alice2026"):
        assert secret not in caplog.text
        assert all(secret not in answer.content.decode() for answer in answers)


# In parallel


@COMMITTING
def test_one_of_eight_parallel_uses_of_a_token_wins(client, at_once, alice):
    token = token_for(alice)
    passwords = [f"{NEW} {number}" for number in range(8)]

    def confirming(new_password):
        return lambda: confirm(client, token, new_password).status_code

    statuses = at_once(*map(confirming, passwords), queued_at=PasswordToken.objects.get())

    assert sorted(statuses) == [204] + [400] * 7
    alice.refresh_from_db()
    assert alice.check_password(passwords[statuses.index(204)])
    assert alice.epoch == 1


@COMMITTING
def test_one_of_two_tokens_used_in_parallel_wins(client, at_once, alice):
    first = token_for(alice)
    queue, second = PasswordToken.objects.get(), token_for(alice)

    def come_second():
        wait_for_lock_waiter()
        return confirm(client, second).status_code

    statuses = at_once(lambda: confirm(client, first).status_code, come_second, queued_at=queue)

    assert sorted(statuses) == [204, 400]
    alice.refresh_from_db()
    assert alice.epoch == 1


@COMMITTING
@pytest.mark.parametrize("change", [None, {"is_active": False}], ids=["delete", "deactivation"])
def test_a_reset_during_a_change_by_an_admin_lets_nobody_in(client, client_of, at_once, ada, alice, change):
    admin, path, token = client_of(ada), f"/user/users/{alice.pk}/", token_for(alice)

    def come_second():
        wait_for_lock_waiter()
        return confirm(client, token, NEW).status_code

    changed, confirmed = at_once(
        lambda: (admin.patch(path, change) if change else admin.delete(path)).status_code, come_second, queued_at=alice
    )

    assert changed in (200, 204)
    assert confirmed in (204, 400)
    assert login_status(client, "Alice", NEW) == 401
    assert not User.objects.filter(pk=alice.pk, is_active=True).exists()


def test_a_racing_sign_in_with_the_old_password_is_ended(client, alice, password, monkeypatch):
    """A thief's sign-in has verified the old password when the owner sets a new one."""
    token, verify = token_for(alice), SmallArgon2PasswordHasher.verify

    def verify_and_be_late(*args):
        verified = verify(*args)
        assert confirm(client, token).status_code == 204
        return verified

    monkeypatch.setattr(SmallArgon2PasswordHasher, "verify", verify_and_be_late)
    answer = client.post("/token/", {"username": "Alice", "password": password})

    if answer.status_code == 200:
        client.set_tokens(**answer.json())
    assert client.get("/user/me/").status_code == 401
    assert not Session.objects.live().exists()
