"""What those may ask who have not signed in yet: each address, and all together who would become somebody."""

from secrets import token_hex

import pytest

from accounts.models import Attempt, Mail, User
from chassis.models import Window
from chassis.tests.limiting import all_told, limit, told, wait_told
from tests.conftest import Client

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

ME, REGISTER, TOKEN = "/user/me/", "/user/register/", "/token/"
USUAL = {"admin": "10/min", "user": "10/min", "anon": "5/min", "newcomers": "60/min"}


@pytest.fixture(autouse=True)
def _usual_limits(settings):
    limit(settings, **USUAL)


def statuses(number, call, *arguments, **options):
    return [call(*arguments, **options).status_code for _ in range(number)]


def counts():
    return dict(Window.objects.values_list("key", "requests"))


def barbara(number):
    return {"username": f"Barbara{number}", "email": f"b{number}@example.com", "password": "seven green bicycles"}


# Signing in


def test_who_comes_for_a_token_is_anonymous_whatever_token_they_bring(client_of, alice, password):
    caller = client_of(alice)
    credentials = {"username": "Alice", "password": password}

    answers = [caller.post(TOKEN, credentials) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [told(answer).left for answer in answers] == [4, 3, 2, 1, 0, 0]
    assert {told(answer).scope for answer in answers} == {"anon"}
    assert caller.get(ME).status_code == 200


def test_one_password_for_many_names_is_five_tries_for_an_address(client, alice):
    answers = [client.post(TOKEN, {"username": f"name{number}", "password": "x" * 9}) for number in range(20)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 15
    assert Attempt.objects.count() == 5


def test_one_name_from_many_addresses_is_ten_tries_for_the_account(client, alice):
    guess = {"username": "Alice", "password": "not this one"}

    answers = [client.post(TOKEN, guess, REMOTE_ADDR=f"192.0.2.{number}") for number in range(1, 13)]

    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["credentials_invalid"] * 10 + ["too_many_failures"] * 2
    assert {(told(answer).scope, told(answer).left) for answer in answers} == {("anon", 4)}


def test_what_the_address_is_refused_is_no_failure_of_the_account(client, alice, password):
    statuses(20, client.post, TOKEN, {"username": "Alice", "password": "not this one"})

    assert Attempt.objects.get().failures == 5
    signed_in = client.post(TOKEN, {"username": "Alice", "password": password}, REMOTE_ADDR="192.0.2.7")
    assert signed_in.status_code == 200


@COMMITTING
def test_of_twenty_guesses_at_once_from_one_address_five_are_checked(at_once, alice, hash_computations):
    guess = {"username": "Alice", "password": "not this one"}

    answers = at_once(*[lambda: Client().post(TOKEN, guess, headers={"X-Forwarded-For": token_hex()})] * 20)

    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15
    assert len(hash_computations) == 5


# Newcomers


def test_newcomers_of_all_addresses_have_one_limit_together(settings, client):
    limit(settings, **USUAL | {"newcomers": "7/min"})

    answers = [client.post(REGISTER, barbara(n), REMOTE_ADDR=f"192.0.2.{n // 3}") for n in range(9)]

    assert [answer.status_code for answer in answers] == [201] * 7 + [429] * 2
    assert [told_of.scope for told_of in all_told(answers[0])] == ["anon", "newcomers"]
    assert [all_told(answer)[1].left for answer in answers] == [6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert answers[0].headers["RateLimit-Policy"] == '"anon";q=5;w=60, "newcomers";q=7;w=60'
    assert answers[0].headers["RateLimit"] == '"anon";r=4;t=60, "newcomers";r=6;t=60'
    assert 58 <= wait_told(answers[8]) <= 60
    assert User.objects.count() == 7


def test_one_address_does_not_use_up_what_is_for_all_newcomers(client):
    answers = [client.post(REGISTER, {}) for _ in range(100)]

    assert [answer.status_code for answer in answers] == [400] * 5 + [429] * 95
    assert counts() == {"address 127.0.0.1": 100, "newcomers": 5}
    assert [told_of.scope for told_of in all_told(answers[99])] == ["anon"]
    assert client.post(REGISTER, barbara(1), REMOTE_ADDR="192.0.2.7").status_code == 201


def test_mails_to_strangers_count_among_newcomers(settings, client, alice):
    limit(settings, **USUAL | {"newcomers": "2/min"})
    body = {"email": alice.email}

    answers = [client.post("/user/password-reset/", body, REMOTE_ADDR=f"192.0.2.{n}") for n in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert client.post(REGISTER, barbara(1), REMOTE_ADDR="192.0.2.9").status_code == 429
    assert Mail.objects.count() == 2


def test_who_has_signed_in_is_no_newcomer(settings, client_of, ada):
    limit(settings, **USUAL | {"newcomers": "1/min"})
    admin = client_of(ada)

    answers = [admin.post(REGISTER, barbara(number)) for number in range(3)]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert [told(answer).scope for answer in answers] == ["admin"] * 3


def test_to_sign_in_is_not_to_be_new(settings, client, alice, password):
    limit(settings, **USUAL | {"newcomers": "1/min"})
    statuses(2, client.post, REGISTER, {})

    assert client.post(TOKEN, {"username": "Alice", "password": password}).status_code == 200


@pytest.mark.parametrize(("anon", "newcomers", "scopes"), [(None, "5/min", ["newcomers"]), ("5/min", None, ["anon"])])
def test_either_limit_of_a_registration_can_be_off(settings, client, anon, newcomers, scopes):
    limit(settings, **USUAL | {"anon": anon, "newcomers": newcomers})

    assert [told_of.scope for told_of in all_told(client.post(REGISTER, {}))] == scopes


@COMMITTING
def test_of_fifteen_newcomers_at_once_as_many_are_let_in_as_there_is_room_for(settings, at_once, db):
    limit(settings, **USUAL | {"newcomers": "4/min"})

    def register(number):
        return Client().post(REGISTER, barbara(number), REMOTE_ADDR=f"192.0.2.{number}")

    answers = at_once(*(lambda number=number: register(number) for number in range(1, 16)))

    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [429] * 11
    assert User.objects.count() == 4
