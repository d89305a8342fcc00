"""Rate limits of anonymous requests: per address, and for all sign-ups together."""

from secrets import token_hex

import pytest

from accounts.hashers import SmallArgon2PasswordHasher
from accounts.models import Attempt, Mail, User
from chassis.testing.limiting import read_limit, read_limits, read_retry_after, set_limits
from tests.conftest import PASSWORD, Client, read_counts, statuses

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

ME, REGISTER, RESET, TOKEN = "/user/me/", "/user/register/", "/user/password-reset/", "/token/"
USUAL = {"admin": "10/min", "user": "10/min", "anon": "5/min", "signup": "60/min"}
GUESS = {"username": "Alice", "password": "not this one"}


@pytest.fixture(autouse=True)
def _usual_limits(settings):
    set_limits(settings, **USUAL)


@pytest.fixture
def sign_up_limit(settings):
    return lambda rate: set_limits(settings, **USUAL | {"signup": rate})


def scopes(answer):
    return [limit.scope for limit in read_limits(answer)]


def barbara(number):
    return {"username": f"Barbara{number}", "email": f"b{number}@example.com", "password": PASSWORD}


def address(number):
    return f"192.0.2.{number}"


def test_a_sign_in_is_anonymous_even_with_a_token(client_of, alice, password):
    caller = client_of(alice)

    answers = [caller.post(TOKEN, {"username": "Alice", "password": password}) for _ in range(6)]

    assert statuses(answers) == [200] * 5 + [429]
    assert [read_limit(answer).left for answer in answers] == [4, 3, 2, 1, 0, 0]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert caller.get(ME).status_code == 200


def test_an_address_has_five_tries_for_all_usernames(client, alice):
    answers = [client.post(TOKEN, {"username": f"name{number}", "password": "x" * 9}) for number in range(20)]

    assert statuses(answers) == [401] * 5 + [429] * 15
    assert Attempt.objects.count() == 5


def test_a_username_has_ten_tries_from_all_addresses(client, alice):
    answers = [client.post(TOKEN, GUESS, REMOTE_ADDR=address(number)) for number in range(12)]

    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["credentials_invalid"] * 10 + ["too_many_failures"] * 2
    assert {(read_limit(answer).scope, read_limit(answer).left) for answer in answers} == {("anon", 4)}


@COMMITTING
def test_five_of_twenty_parallel_guesses_are_checked(at_once, alice, hash_computations):
    answers = at_once(*[lambda: Client().post(TOKEN, GUESS, headers={"X-Forwarded-For": token_hex()})] * 20)

    assert sorted(statuses(answers)) == [401] * 5 + [429] * 15
    assert len(hash_computations) == 5


# Sign-ups


def test_all_addresses_share_the_sign_up_limit(sign_up_limit, client):
    sign_up_limit("7/min")

    answers = [client.post(REGISTER, barbara(n), REMOTE_ADDR=address(n // 3)) for n in range(9)]

    assert statuses(answers) == [201] * 7 + [429] * 2
    assert [[limit[:4] for limit in read_limits(answers[n])] for n in (0, 8)] == [
        [("anon", 5, 60, 4), ("signup", 7, 60, 6)],
        [("anon", 5, 60, 2), ("signup", 7, 60, 0)],
    ]
    assert 0 < read_retry_after(answers[8]) <= 60
    assert User.objects.count() == 7


INVALID = {
    "nothing": (REGISTER, {}, 400),
    "a short password": (REGISTER, barbara(1) | {"password": "x"}, 400),
    "an admin": (REGISTER, barbara(1) | {"role": "admin"}, 403),
    "a taken name": (REGISTER, barbara(1) | {"username": "Alice"}, 409),
    "a taken address": (REGISTER, barbara(1) | {"email": "alice@example.com"}, 409),
    "a reset for no address": (RESET, {"email": "x"}, 400),
}


@pytest.mark.parametrize("kind", INVALID)
def test_a_refused_sign_up_is_not_counted(client, alice, kind):
    path, body, status = INVALID[kind]

    answers = [client.post(path, body) for _ in range(3)]

    assert statuses(answers) == [status] * 3
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert read_counts().get("signup", 0) == 0


def test_a_refused_sign_up_neither_hashes_nor_writes(sign_up_limit, client, db, hash_computations):
    sign_up_limit("1/min")
    client.post(REGISTER, barbara(1))
    hash_computations.clear()

    assert client.post(REGISTER, barbara(2)).status_code == 429
    assert (hash_computations, User.objects.count()) == ([], 1)


def test_one_address_cannot_exhaust_the_sign_up_limit(client):
    answers = [client.post(REGISTER, barbara(number)) for number in range(9)]

    assert statuses(answers) == [201] * 5 + [429] * 4
    assert read_counts() == {"address 127.0.0.1": 9, "signup": 5}
    assert scopes(answers[8]) == ["anon"]


def test_reset_mails_count_as_sign_ups(sign_up_limit, client, alice):
    sign_up_limit("2/min")

    answers = [client.post(RESET, {"email": alice.email}, REMOTE_ADDR=address(n)) for n in range(4)]

    assert statuses(answers) == [202, 202, 429, 429]
    assert client.post(REGISTER, barbara(1), REMOTE_ADDR=address(9)).status_code == 429
    assert Mail.objects.count() == 2


def test_a_token_does_not_bypass_the_sign_up_limit(sign_up_limit, client_of, ada, alice):
    sign_up_limit("2/min")
    admin, user = client_of(ada), client_of(alice)

    answers = [each.post(REGISTER, barbara(n)) for n, each in enumerate((admin, user, admin, user))]

    assert statuses(answers) == [201, 201, 429, 429]
    assert [scopes(answer) for answer in answers] == [["admin", "signup"], ["user", "signup"]] * 2


@pytest.mark.parametrize(("off", "left"), [("anon", ["signup"]), ("signup", ["anon"])])
def test_each_limit_of_a_registration_can_be_disabled(settings, client, off, left):
    set_limits(settings, **USUAL | {off: None})

    assert scopes(client.post(REGISTER, barbara(1))) == left


@COMMITTING
def test_sixty_of_seventy_parallel_sign_ups_succeed(at_once, db, monkeypatch):
    monkeypatch.setattr(SmallArgon2PasswordHasher, "time_cost", 1)
    monkeypatch.setattr(SmallArgon2PasswordHasher, "memory_cost", 8)

    def register(number):
        return Client().post(REGISTER, barbara(number), REMOTE_ADDR=address(number))

    answers = at_once(*(lambda number=number: register(number) for number in range(70)))

    assert sorted(statuses(answers)) == [201] * 60 + [429] * 10
    assert User.objects.count() == 60


@COMMITTING
def test_parallel_sign_ups_of_one_name_count_once(at_once, db):
    answers = at_once(*[lambda: Client().post(REGISTER, barbara(1))] * 5)

    assert sorted(statuses(answers)) == [201] + [409] * 4
    assert read_counts()["signup"] == 1
