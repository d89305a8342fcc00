import logging
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from accounts.hashers import SmallArgon2PasswordHasher
from accounts.models import Change, Mail, PasswordToken, Session, User

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

URL = "/user/password-reset/confirm/"
NEW = "eight red balloons"
RESET, INVITATION = Mail.Kind.PASSWORD_RESET, Mail.Kind.INVITATION


def token_for(user, kind=RESET):
    return PasswordToken.objects.issue(user, kind)


def confirm(client, token, new_password=NEW):
    return client.post(URL, {"token": token, "new_password": new_password})


def sign_in(client, username, password):
    return client.post("/token/", {"username": username, "password": password}).status_code


def pass_time(**duration):
    PasswordToken.objects.update(expires_at=F("expires_at") - timedelta(**duration))


def assert_refused(answer, *fields):
    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == set(fields)


def assert_token_refused(answer):
    assert_refused(answer, "token")
    assert answer.json()["errors"][0]["code"] == "token_invalid"


def wait_until_one_queues():
    deadline = time.monotonic() + 10
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(query)
            if cursor.fetchone() != (0,):
                return
            time.sleep(0.002)
    raise AssertionError("nobody came to wait")


def everything_stored():
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        for table in tables:
            cursor.execute(f'SELECT row::text FROM "{table}" AS row')
            yield from (text for (text,) in cursor.fetchall())


def test_the_token_sets_the_password(client, alice, password):
    answer = confirm(client, token_for(alice))

    assert (answer.status_code, answer.content) == (204, b"")
    assert sign_in(client, "Alice", NEW) == 200
    assert sign_in(client, "Alice", password) == 401


def test_the_password_is_stored_exactly_as_sent(client, alice):
    confirm(client, token_for(alice), f"  {NEW}\u00e9 ")

    tried = [f"  {NEW}\u00e9 ", f"{NEW}\u00e9", f"  {NEW}e\u0301 "]
    assert [sign_in(client, "Alice", each) for each in tried] == [200, 401, 401]


def test_a_reset_costs_one_hash_and_a_wrong_token_none(client, alice, hash_computations):
    confirm(client, "unknown")
    assert hash_computations == []

    confirm(client, token_for(alice))
    assert hash_computations == ["encode"]


def test_other_accounts_are_unaffected(client, client_of, alice, bob):
    before, others = User.objects.filter(pk=bob.pk).values().get(), client_of(bob)
    bobs_token = token_for(bob)

    confirm(client, token_for(alice))

    assert User.objects.filter(pk=bob.pk).values().get() == before
    assert others.get("/user/me/").status_code == 200
    assert confirm(client, bobs_token).status_code == 204


def test_only_password_and_epoch_change(client, alice):
    before = User.objects.values().get()

    confirm(client, token_for(alice))

    after = User.objects.values().get()
    assert {name for name in before if before[name] != after[name]} == {"password", "epoch", "least_epoch"}
    assert after["epoch"] == before["epoch"] + 1


def test_every_session_ends(client, client_of, alice):
    sessions = [client_of(alice), client_of(alice)]

    confirm(client, token_for(alice))

    assert not Session.objects.exists()
    assert [each.get("/user/me/").status_code for each in sessions] == [401, 401]
    refreshed = [client.post("/token/refresh/", {"refresh": each.refresh_token}).status_code for each in sessions]
    assert refreshed == [401, 401]


def test_the_reset_appears_in_the_feed(client, alice):
    before = Change.objects.filter(user_id=alice.pk).values_list("position", flat=True).first() or 0

    confirm(client, token_for(alice))

    assert Change.objects.get(user_id=alice.pk).position > before


def test_a_reset_lifts_the_wait(client, alice, bob):
    for _ in range(10):
        sign_in(client, "alice@example.com", "a wrong guess")
        sign_in(client, "Bob", "a wrong guess")
        sign_in(client, "Alice", "a wrong guess")
    assert {sign_in(client, name, NEW) for name in ("Alice", "alice@example.com")} == {429}

    confirm(client, token_for(alice))

    assert {sign_in(client, name, NEW) for name in ("Alice", "alice@example.com")} == {200}
    assert sign_in(client, "Bob", NEW) == 429


def test_a_reset_lifts_the_waits_of_devices_and_account(client, client_of, alice, password):
    assert sign_in(client, "Alice", password) == 200
    for _ in range(10):
        sign_in(client, "Alice", "a wrong guess")
    assert sign_in(client, "Alice", password) == 429
    guess = {"current_password": "a wrong guess", "new_password": NEW}
    for _ in range(10):
        client_of(alice).post("/user/me/password/", guess)

    confirm(client, token_for(alice))

    right = {"current_password": NEW, "new_password": "nine red balloons"}
    assert sign_in(client, "Alice", NEW) == 200
    assert client_of(alice).post("/user/me/password/", right).status_code == 204


@pytest.mark.parametrize("header", ["Bearer left.over.token", "Basic QTpC", "nonsense"])
def test_an_old_authorization_header_is_ignored(client, alice, header):
    body = {"token": token_for(alice), "new_password": NEW}

    assert client.post(URL, body, headers={"Authorization": header}).status_code == 204


# Valid tokens


def test_a_token_works_once(client, alice):
    token = token_for(alice)
    confirm(client, token)

    assert_token_refused(confirm(client, token, "nine blue umbrellas"))
    assert sign_in(client, "Alice", NEW) == 200


@pytest.mark.parametrize("kind", [RESET, INVITATION])
def test_using_a_token_revokes_the_others_of_the_account(client, alice, kind):
    others = [token_for(alice, kind), token_for(alice)]
    confirm(client, token_for(alice))

    for other in others:
        assert_token_refused(confirm(client, other))
    assert not PasswordToken.objects.exists()


def test_an_earlier_token_stays_valid_until_one_is_used(client, alice):
    earlier, _ = token_for(alice), token_for(alice)

    assert confirm(client, earlier).status_code == 204


@pytest.mark.parametrize(
    ("kind", "lifetime"), [(RESET, timedelta(minutes=30)), (INVITATION, timedelta(days=7))], ids=["reset", "invitation"]
)
def test_a_token_expires_after_its_lifetime(client, alice, kind, lifetime):
    token = token_for(alice, kind)

    pass_time(seconds=lifetime.total_seconds())
    assert_token_refused(confirm(client, token))

    pass_time(seconds=-20)
    assert confirm(client, token).status_code == 204


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.swapcase(),
        lambda token: token.encode().hex(),
        lambda token: "x" * 101,
        lambda token: "\u0661" * 43,
        lambda token: "' OR 1=1 --",
        lambda token: "%",
        lambda token: None,
        lambda token: [token],
        lambda token: {"token": token},
        lambda token: True,
        lambda token: 0,
    ],
)
def test_a_changed_token_is_refused(client, alice, password, change):
    assert_refused(confirm(client, change(token_for(alice))), "token")
    assert sign_in(client, "Alice", password) == 200


def test_the_stored_hash_is_no_token(client, alice):
    token_for(alice)

    assert_token_refused(confirm(client, PasswordToken.objects.get().token_hash))


def test_other_kinds_of_token_set_no_password(client, client_of, alice):
    signed_in = client_of(alice)
    token_for(alice)

    for token in (signed_in.access_token, signed_in.refresh_token, signed_in.access_token[:100]):
        assert_refused(confirm(client, token), "token")


def test_a_reset_token_opens_nothing_else(client, alice):
    token = token_for(alice)

    assert client.get("/user/me/", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert client.post("/token/refresh/", {"refresh": token}).status_code == 401
    assert client.post("/token/verify/", {"token": token}).status_code == 401


def test_the_token_of_an_inactive_account_is_refused(client, client_of, ada, alice, password):
    token = token_for(alice)
    client_of(ada).patch(f"/user/users/{alice.pk}/", {"is_active": False})

    assert_token_refused(confirm(client, token))

    alice.refresh_from_db()
    assert alice.check_password(password)
    assert not alice.is_active


def test_the_token_of_a_deleted_account_is_refused(client, client_of, ada, alice):
    token = token_for(alice)
    client_of(ada).delete(f"/user/users/{alice.pk}/")

    assert_token_refused(confirm(client, token))


def test_unknown_used_and_expired_tokens_look_alike(client, alice, bob, ivan):
    used, expired, inactive = token_for(alice), token_for(bob), token_for(ivan)
    confirm(client, used)
    PasswordToken.objects.filter(user=bob).update(expires_at=timezone.now())

    answers = [confirm(client, token) for token in (used, expired, inactive, "unknown")]

    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert bodies == [bodies[0]] * 4
    assert_token_refused(answers[0])


def test_a_token_mailed_to_a_former_address_is_refused(client, client_of, ada, person):
    """An admin corrects a mistyped address; the mail to the wrong one would be valid for seven days."""
    invited = person("Carol", email="caroll@example.com")
    token = token_for(invited, INVITATION)

    client_of(ada).patch(f"/user/users/{invited.pk}/", {"email": "carol@example.com"})

    assert_token_refused(confirm(client, token))


def test_a_password_change_revokes_mailed_tokens(client, client_of, alice, password):
    token = token_for(alice)
    body = {"current_password": password, "new_password": "nine blue umbrellas"}

    assert client_of(alice).post("/user/me/password/", body).status_code == 204

    assert_token_refused(confirm(client, token))


# Passwords


@pytest.mark.parametrize(
    ("weak", "reason"),
    [
        ("bicycle", "too short"),
        ("sunshine1", "too common"),
        ("84027591630217", "entirely numeric"),
        ("Alice2026", "too similar to the username"),
        ("alice@example.com", "too similar to the email"),
        ("7" + "x" * 1024, "at most 1024 bytes"),
        ("", "blank"),
        (None, "null"),
        (8402759163, "a string"),
        ([NEW], "a string"),
    ],
    ids=repr,
)
def test_a_weak_password_does_not_use_up_the_token(client, client_of, alice, password, weak, reason):
    token, signed_in = token_for(alice), client_of(alice)

    answer = confirm(client, token, weak)

    assert_refused(answer, "new_password")
    assert any(reason in error["detail"] for error in answer.json()["errors"])
    assert signed_in.get("/user/me/").status_code == 200
    assert sign_in(client, "Alice", password) == 200
    assert confirm(client, token).status_code == 204


@pytest.mark.parametrize("name", ["token", "new_password"])
def test_each_field_is_required(client, alice, name):
    body = {"token": token_for(alice), "new_password": NEW}
    del body[name]

    answer = client.post(URL, body)

    assert_refused(answer, name)
    assert answer.json()["errors"][0]["code"] == "required"
    assert PasswordToken.objects.exists()


@pytest.mark.parametrize("name", ["user", "email", "username", "password", "user_id", "role", "is_active"])
def test_an_unknown_field_is_refused(client, alice, bob, name):
    answer = client.post(URL, {"token": token_for(alice), "new_password": NEW, name: bob.pk})

    assert_refused(answer, name)
    assert answer.json()["errors"][0]["code"] == "unknown_field"
    assert PasswordToken.objects.exists()


# Secrets


def test_token_and_password_are_not_stored(client, alice):
    used, left = token_for(alice), token_for(alice)
    assert sum(left in row for row in everything_stored()) == 0
    assert sum(PasswordToken.objects.latest("id").token_hash in row for row in everything_stored()) == 1

    confirm(client, used)

    assert [row for row in everything_stored() if used in row or left in row or NEW in row] == []


def test_token_and_password_reach_neither_log_nor_response(client, alice, caplog):
    caplog.set_level(logging.DEBUG)
    token = token_for(alice)

    answers = [confirm(client, token, "Alice2026"), confirm(client, token), confirm(client, token)]
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
    queue = PasswordToken.objects.get()
    second = token_for(alice)

    def come_second():
        wait_until_one_queues()
        return confirm(client, second, "nine blue umbrellas").status_code

    statuses = at_once(lambda: confirm(client, first).status_code, come_second, queued_at=queue)

    assert sorted(statuses) == [204, 400]
    alice.refresh_from_db()
    assert alice.epoch == 1


@COMMITTING
def test_a_reset_during_a_delete_is_refused(client, client_of, at_once, ada, alice):
    admin, token = client_of(ada), token_for(alice)

    def come_second():
        wait_until_one_queues()
        return confirm(client, token).status_code

    deleted, confirmed = at_once(
        lambda: admin.delete(f"/user/users/{alice.pk}/").status_code, come_second, queued_at=alice
    )

    assert deleted == 204
    assert confirmed in (204, 400)
    assert not User.objects.filter(pk=alice.pk).exists()


@COMMITTING
def test_a_reset_during_a_deactivation_lets_nobody_in(client, client_of, at_once, ada, alice):
    admin, token = client_of(ada), token_for(alice)

    changed, confirmed = at_once(
        lambda: admin.patch(f"/user/users/{alice.pk}/", {"is_active": False}).status_code,
        lambda: confirm(client, token).status_code,
        queued_at=alice,
    )

    assert changed == 200
    assert confirmed in (204, 400)
    assert sign_in(client, "Alice", NEW) == 401


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
