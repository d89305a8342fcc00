"""Rate limits of anonymous requests: per address, and for all sign-ups together."""

from secrets import token_hex

import pytest

from accounts.hashers import SmallArgon2PasswordHasher
from accounts.models import Attempt, Mail, User
from chassis.models import Window
from chassis.testing.limiting import read_limit, read_limits, read_retry_after, set_limits
from tests.conftest import Client

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

ME, REGISTER, TOKEN = "/user/me/", "/user/register/", "/token/"
USUAL = {"admin": "10/min", "user": "10/min", "anon": "5/min", "signup": "60/min"}


@pytest.fixture(autouse=True)
def _usual_limits(settings):
    set_limits(settings, **USUAL)


def statuses(number, call, *arguments, **options):
    return [call(*arguments, **options).status_code for _ in range(number)]


def counts():
    return dict(Window.objects.values_list("key", "requests"))


def barbara(number):
    return {"username": f"Barbara{number}", "email": f"b{number}@example.com", "password": "seven green bicycles"}


# Sign-ins


def test_a_sign_in_is_anonymous_even_with_a_token(client_of, alice, password):
    caller = client_of(alice)
    credentials = {"username": "Alice", "password": password}

    answers = [caller.post(TOKEN, credentials) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [read_limit(answer).left for answer in answers] == [4, 3, 2, 1, 0, 0]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert caller.get(ME).status_code == 200


def test_an_address_has_five_tries_for_all_usernames(client, alice):
    answers = [client.post(TOKEN, {"username": f"name{number}", "password": "x" * 9}) for number in range(20)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 15
    assert Attempt.objects.count() == 5


def test_a_username_has_ten_tries_from_all_addresses(client, alice):
    guess = {"username": "Alice", "password": "not this one"}

    answers = [client.post(TOKEN, guess, REMOTE_ADDR=f"192.0.2.{number}") for number in range(1, 13)]

    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["credentials_invalid"] * 10 + ["too_many_failures"] * 2
    assert {(read_limit(answer).scope, read_limit(answer).left) for answer in answers} == {("anon", 4)}


def test_a_throttled_sign_in_is_no_failed_attempt(client, alice, password):
    statuses(20, client.post, TOKEN, {"username": "Alice", "password": "not this one"})

    assert Attempt.objects.get().failures == 5
    signed_in = client.post(TOKEN, {"username": "Alice", "password": password}, REMOTE_ADDR="192.0.2.7")
    assert signed_in.status_code == 200


@COMMITTING
def test_five_of_twenty_parallel_guesses_are_checked(at_once, alice, hash_computations):
    guess = {"username": "Alice", "password": "not this one"}

    answers = at_once(*[lambda: Client().post(TOKEN, guess, headers={"X-Forwarded-For": token_hex()})] * 20)

    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15
    assert len(hash_computations) == 5


# Sign-ups

RESET = "/user/password-reset/"


def address(number):
    return f"192.0.2.{number}"


def test_all_addresses_share_the_sign_up_limit(settings, client):
    set_limits(settings, **USUAL | {"signup": "7/min"})

    answers = [client.post(REGISTER, barbara(n), REMOTE_ADDR=address(n // 3)) for n in range(9)]

    assert [answer.status_code for answer in answers] == [201] * 7 + [429] * 2
    assert [told_of.scope for told_of in read_limits(answers[0])] == ["anon", "signup"]
    assert [read_limits(answer)[1].left for answer in answers] == [6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert answers[0].headers["RateLimit-Policy"] == '"anon";q=5;w=60, "signup";q=7;w=60'
    assert answers[0].headers["RateLimit"] == '"anon";r=4;t=60, "signup";r=6;t=60'
    assert answers[8].headers["RateLimit-Policy"] == '"anon";q=5;w=60, "signup";q=7;w=60'
    assert 58 <= read_retry_after(answers[8]) <= 60
    assert User.objects.count() == 7


INVALID = {
    "nothing": (REGISTER, {}, 400),
    "a short password": (REGISTER, barbara(1) | {"password": "x"}, 400),
    "an unknown field": (REGISTER, barbara(1) | {"x": 1}, 400),
    "an admin": (REGISTER, barbara(1) | {"role": "admin"}, 403),
    "a taken name": (REGISTER, barbara(1) | {"username": "Alice"}, 409),
    "a taken address": (REGISTER, barbara(1) | {"email": "alice@example.com"}, 409),
    "a reset for nobody": (RESET, {}, 400),
    "a reset for no address": (RESET, {"email": "x"}, 400),
}


@pytest.mark.parametrize("kind", INVALID)
def test_a_refused_sign_up_is_not_counted(client, alice, kind):
    path, body, status = INVALID[kind]

    answers = [client.post(path, body, REMOTE_ADDR=address(n // 5)) for n in range(60)]

    assert [answer.status_code for answer in answers] == [status] * 60
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert counts().get("signup", 0) == 0
    created = client.post(REGISTER, barbara(2), REMOTE_ADDR=address(99))
    assert (created.status_code, read_limits(created)[1].left) == (201, 59)


def test_a_refused_sign_up_neither_hashes_nor_writes(settings, client, db, hash_computations):
    set_limits(settings, **USUAL | {"signup": "1/min"})
    client.post(REGISTER, barbara(1))
    hash_computations.clear()

    assert client.post(REGISTER, barbara(2)).status_code == 429
    assert (hash_computations, User.objects.count()) == ([], 1)


def test_one_address_cannot_exhaust_the_sign_up_limit(client):
    answers = [client.post(REGISTER, barbara(number)) for number in range(50)]

    assert [answer.status_code for answer in answers] == [201] * 5 + [429] * 45
    assert counts() == {"address 127.0.0.1": 50, "signup": 5}
    assert [told_of.scope for told_of in read_limits(answers[49])] == ["anon"]
    assert client.post(REGISTER, barbara(60), REMOTE_ADDR=address(7)).status_code == 201


def test_reset_mails_count_as_sign_ups(settings, client, alice):
    set_limits(settings, **USUAL | {"signup": "2/min"})
    body = {"email": alice.email}

    answers = [client.post(RESET, body, REMOTE_ADDR=address(n)) for n in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert client.post(REGISTER, barbara(1), REMOTE_ADDR=address(9)).status_code == 429
    assert Mail.objects.count() == 2


def test_a_token_does_not_bypass_the_sign_up_limit(settings, client_of, ada, alice):
    set_limits(settings, **USUAL | {"signup": "2/min"})
    admin, user = client_of(ada), client_of(alice)

    answers = [each.post(REGISTER, barbara(n)) for n, each in enumerate((admin, user, admin, user))]

    assert [answer.status_code for answer in answers] == [201, 201, 429, 429]
    assert [[told_of.scope for told_of in read_limits(answer)] for answer in answers] == [
        ["admin", "signup"],
        ["user", "signup"],
    ] * 2


def test_a_sign_in_is_not_counted_as_a_sign_up(settings, client, alice, password):
    set_limits(settings, **USUAL | {"signup": "1/min"})
    assert client.post(REGISTER, barbara(1)).status_code == 201

    assert client.post(TOKEN, {"username": "Alice", "password": password}).status_code == 200


@pytest.mark.parametrize(("anon", "signup", "scopes"), [(None, "5/min", ["signup"]), ("5/min", None, ["anon"])])
def test_each_limit_of_a_registration_can_be_disabled(settings, client, anon, signup, scopes):
    set_limits(settings, **USUAL | {"anon": anon, "signup": signup})

    assert [told_of.scope for told_of in read_limits(client.post(REGISTER, barbara(1)))] == scopes


@COMMITTING
def test_sixty_of_a_hundred_parallel_sign_ups_succeed(settings, at_once, db, monkeypatch):
    monkeypatch.setattr(SmallArgon2PasswordHasher, "time_cost", 1)
    monkeypatch.setattr(SmallArgon2PasswordHasher, "memory_cost", 8)

    def register(number):
        return Client().post(REGISTER, barbara(number), REMOTE_ADDR=address(number))

    answers = at_once(*(lambda number=number: register(number) for number in range(100)))

    assert sorted(answer.status_code for answer in answers) == [201] * 60 + [429] * 40
    assert User.objects.count() == 60


@COMMITTING
def test_parallel_sign_ups_of_one_name_count_once(at_once, db):
    answers = at_once(*[lambda: Client().post(REGISTER, barbara(1))] * 5)

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 4
    assert counts()["signup"] == 1
