from datetime import timedelta

import pytest
from django.db.models import F

from accounts.models import Attempt, User
from tests.conftest import NEW_PASSWORD as NEW
from tests.conftest import PASSWORD, field_errors, login_status

pytestmark = pytest.mark.django_db

URL = "/user/me/password/"


def change(client, current=PASSWORD, new=NEW):
    return client.post(URL, {"current_password": current, "new_password": new})


def guess(client, times):
    return [change(client, current=f"guess {number}").status_code for number in range(times)]


def test_the_new_password_replaces_the_old_one(client_of, client, alice, hash_computations):
    answer = change(client_of(alice))

    alice.refresh_from_db()
    assert (answer.status_code, answer.content, alice.epoch) == (204, b"", 1)
    assert hash_computations == ["verify", "encode"]
    assert [login_status(client, "Alice", each) for each in (NEW, PASSWORD)] == [200, 401]


@pytest.mark.parametrize("new", [f"  {NEW}  ", f"\t{NEW}\n", f"\u2003{NEW}"])
def test_the_new_password_is_stored_exactly_as_sent(client_of, client, alice, new):
    assert change(client_of(alice), new=new).status_code == 204

    assert [login_status(client, "Alice", each) for each in (new, NEW)] == [200, 401]
    assert change(client_of(alice), current=NEW, new=PASSWORD).status_code == 400
    assert change(client_of(alice), current=new, new=PASSWORD).status_code == 204


@pytest.mark.parametrize("current", ["eight green bicycles", "Seven green bicycles", f" {PASSWORD}", "x" * 256])
def test_a_wrong_current_password_is_refused(client_of, client, alice, current):
    other = client_of(alice)

    answer = change(client_of(alice), current=current)

    alice.refresh_from_db()
    assert (answer.status_code, field_errors(answer)) == (400, [("current_password", "wrong_password")])
    assert (other.get("/user/me/").status_code, alice.epoch) == (200, 0)
    assert login_status(client, "Alice", PASSWORD) == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"new_password": NEW}, "current_password"),
        ({"current_password": PASSWORD}, "new_password"),
        ({"current_password": "", "new_password": NEW}, "current_password"),
        ({"current_password": [PASSWORD], "new_password": NEW}, "current_password"),
        ({"current_password": "x" * 257, "new_password": NEW}, "current_password"),
        ({"current_password": PASSWORD, "new_password": NEW, "username": "Bob"}, "username"),
    ],
)
def test_an_invalid_body_is_refused(client_of, client, alice, body, field):
    answer = client_of(alice).post(URL, body)

    assert (answer.status_code, [name for name, _ in field_errors(answer)]) == (400, [field])
    assert login_status(client, "Alice", PASSWORD) == 200


# Guesses


def test_ten_wrong_passwords_block_the_next_attempt(client_of, client, alice, hash_computations):
    guesser = client_of(alice)
    guesses = guess(guesser, 10)
    hash_computations.clear()

    answer = change(guesser)

    attempt = Attempt.objects.get()
    assert guesses == [400] * 10
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    assert attempt.blocked_until - attempt.last_at == timedelta(seconds=60)
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert hash_computations == []
    assert login_status(client, "Alice", PASSWORD) == 200

    Attempt.objects.update(blocked_until=F("blocked_until") - timedelta(seconds=61))
    assert change(guesser).status_code == 204


def test_failed_sign_ins_count_separately(client_of, client, alice):
    for number in range(10):
        login_status(client, "Alice", f"guess {number}")

    assert change(client_of(alice)).status_code == 204


def test_a_success_resets_the_count(client_of, alice):
    guesser = client_of(alice)
    guess(guesser, 9)

    assert change(guesser).status_code == 204
    assert guess(guesser, 11) == [400] * 10 + [429]


# Side effects


def test_it_ends_the_other_sessions_and_keeps_this_one(client_of, client, alice):
    here, there, elsewhere = client_of(alice), client_of(alice), client_of(alice)

    change(here)

    for ended in (there, elsewhere):
        assert ended.get("/user/me/").status_code == 401
        assert client.post("/token/refresh/", {"refresh": ended.refresh_token}).status_code == 401
    assert here.get("/user/me/").status_code == 200
    here.set_tokens(**client.post("/token/refresh/", {"refresh": here.refresh_token}).json())
    assert here.get("/user/me/").status_code == 200


def test_other_accounts_are_unaffected(client_of, client, alice, bob):
    other, before = client_of(bob), User.objects.filter(pk=bob.pk).values().get()

    change(client_of(alice))

    assert User.objects.filter(pk=bob.pk).values().get() == before
    assert other.get("/user/me/").status_code == 200
    assert login_status(client, "Bob", PASSWORD) == 200


def test_passwords_reach_neither_log_nor_response(client_of, alice, caplog):
    caplog.set_level("DEBUG")

    answer = change(client_of(alice), current="eight green bicycles")
    change(client_of(alice))

    for secret in ("eight green bicycles", PASSWORD, NEW):
        assert secret not in caplog.text
        assert secret not in answer.content.decode()


# In parallel


@pytest.mark.django_db(transaction=True)
def test_one_of_two_parallel_changes_wins_and_keeps_its_session(client_of, client, at_once, alice):
    """Both send the current password; for the second request it is an old one."""
    sessions, news = [client_of(alice), client_of(alice)], [f"{NEW} {number}" for number in range(2)]

    statuses = at_once(
        lambda: change(sessions[0], new=news[0]).status_code,
        lambda: change(sessions[1], new=news[1]).status_code,
        queued_at=alice,
    )

    assert sorted(statuses) == [204, 400]
    winner = statuses.index(204)
    assert sessions[winner].get("/user/me/").status_code == 200
    assert login_status(client, "Alice", news[winner]) == 200


@pytest.mark.django_db(transaction=True)
def test_a_racing_sign_in_with_the_old_password_is_ended(client_of, client, at_once, alice, monkeypatch):
    """The sign-in has checked the old password but not opened its session when the change commits."""
    changer = client_of(alice)
    succeeded = Attempt.succeeded

    def succeeded_and_overtaken(self):
        monkeypatch.setattr(Attempt, "succeeded", succeeded)
        succeeded(self)
        assert at_once(lambda: change(changer).status_code) == [204]

    monkeypatch.setattr(Attempt, "succeeded", succeeded_and_overtaken)

    answer = client.post("/token/", {"username": "Alice", "password": PASSWORD})

    assert login_status(client, "Alice", NEW) == 200
    if answer.status_code == 200:
        client.set_tokens(**answer.json())
        assert client.get("/user/me/").status_code == 401
        assert client.post("/token/refresh/", {"refresh": client.refresh_token}).status_code == 401
    else:
        assert answer.status_code == 401
