"""Refresh and sign-out with a valid token count by account, not by address."""

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts.models import Session, User
from chassis.testing.limiting import read_limit, read_limits, read_retry_after, set_limits
from tests.conftest import Client, read_counts, statuses

pytestmark = pytest.mark.django_db

REFRESH, LOGOUT = "/token/refresh/", "/token/logout/"
OK = {REFRESH: 200, LOGOUT: 204}
each_path = pytest.mark.parametrize("path", [REFRESH, LOGOUT])


@pytest.fixture(autouse=True)
def _default_limits(settings):
    set_limits(settings, admin="10/min", user="10/min", anon="5/min", signup="60/min")


@pytest.fixture
def refresh_token(client_of):
    return lambda user: client_of(user).refresh_token


def send(path, token):
    return Client().post(path, {"refresh": token})


@each_path
def test_a_valid_refresh_token_counts_by_account(refresh_token, path, alice):
    answer = send(path, refresh_token(alice))

    assert answer.status_code == OK[path]
    assert read_limit(answer)[:4] == ("user", 10, 60, 9)
    assert read_counts() == {f"user {alice.pk}": 1}


@each_path
def test_invalid_tokens_do_not_block_valid_ones(refresh_token, path, alice):
    junk = [send(path, "a.b.c") for _ in range(6)]

    assert statuses(junk) == [401] * 5 + [429]
    assert send(path, refresh_token(alice)).status_code == OK[path]


@each_path
@pytest.mark.parametrize(
    ("method", "body", "content_type", "status"),
    [
        ("GET", b"", "application/json", 405),
        ("POST", b"{", "application/json", 400),
        ("POST", b"[]", "application/json", 400),
        ("POST", b'{"refresh": []}', "application/json", 400),
        ("POST", b'{"refresh": "%s"}' % (b"x" * 1_100_000), "application/json", 413),
        ("POST", b"refresh=x", "application/x-www-form-urlencoded", 415),
    ],
    ids=["another method", "no JSON", "no object", "no text", "too large", "a form"],
)
def test_a_request_without_a_token_counts_by_address(path, method, body, content_type, status):
    answers = [Client().generic(method, path, body, content_type=content_type) for _ in range(6)]

    assert statuses(answers) == [status] * 5 + [429]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}


@each_path
def test_a_token_that_opens_no_session_counts_by_address(client_of, refresh_token, path, alice, bob):
    ended, deactivated, expired = refresh_token(alice), refresh_token(bob), client_of(alice)
    Session.objects.filter(user=alice).order_by("pk").first().delete()
    User.objects.filter(pk=bob.pk).update(is_active=False)
    Session.objects.filter(user=alice).update(expires_at=F("created_at"))

    answers = [send(path, token) for token in (ended, deactivated, expired.refresh_token, expired.access_token)]

    assert [read_limit(answer).scope for answer in answers] == ["anon"] * 4
    assert read_counts() == {"address 127.0.0.1": 4}


@each_path
def test_the_scope_is_the_current_role(settings, refresh_token, path, alice):
    set_limits(settings, admin="7/min", user="3/min", anon="5/min")
    token = refresh_token(alice)
    User.objects.filter(pk=alice.pk).update(role="admin")

    assert read_limit(send(path, token))[:2] == ("admin", 7)


@each_path
def test_a_refused_request_changes_no_session(settings, client_of, path, alice):
    set_limits(settings, user="1/min", anon="5/min")
    caller = client_of(alice)
    caller.get("/user/me/")
    before = Session.objects.values().get()

    refused = send(path, caller.refresh_token)

    assert 0 < read_retry_after(refused) <= 60
    assert Session.objects.values().get() == before


def test_a_retry_counts_by_account(refresh_token, alice, clock):
    token = refresh_token(alice)
    first = send(REFRESH, token)
    clock.advance(seconds=10)

    retry = send(REFRESH, token)

    assert retry.json() == first.json()
    assert read_limit(retry)[0::3] == ("user", 8)


def test_reuse_counts_by_address_and_ends_the_session(refresh_token, alice, clock):
    token = refresh_token(alice)
    send(REFRESH, token)
    clock.advance(seconds=10, microseconds=1)

    reused = send(REFRESH, token)

    assert (reused.status_code, read_limit(reused).scope) == (401, "anon")
    assert not Session.objects.exists()


def test_sign_out_with_a_replaced_token_counts_by_account(refresh_token, alice, clock):
    token = refresh_token(alice)
    send(REFRESH, token)
    clock.advance(seconds=11)

    assert read_limit(send(LOGOUT, token))[0::3] == ("user", 8)


def test_a_disabled_user_limit_does_not_count_by_address(settings, refresh_token, alice):
    set_limits(settings, user=None, anon="1/min")

    answers = [send(REFRESH, refresh_token(alice)) for _ in range(3)]

    assert statuses(answers) == [200] * 3
    assert [read_limits(answer) for answer in answers] == [[]] * 3
    assert read_counts() == {}


@each_path
def test_counting_costs_one_statement(refresh_token, path, alice):
    token = refresh_token(alice)
    with CaptureQueriesContext(connection) as captured:
        assert send(path, token).status_code == OK[path]

    counting = [query for query in captured if "chassis_window" in query["sql"]]
    assert len(counting) == 1
    assert captured[0] == counting[0]


def test_refusing_an_invalid_token_costs_one_statement(django_assert_num_queries, db):
    with django_assert_num_queries(7):
        for _ in range(7):
            send(REFRESH, "a.b.c")


@pytest.mark.django_db(transaction=True)
def test_ten_of_thirty_parallel_refreshes_are_served(refresh_token, at_once, alice, clock):
    token = refresh_token(alice)

    answers = at_once(*[lambda: send(REFRESH, token)] * 30)

    let_in = [answer.json() for answer in answers if answer.status_code == 200]
    assert sorted(statuses(answers)) == [200] * 10 + [429] * 20
    assert all(pair == let_in[0] for pair in let_in)
    assert let_in[0]["refresh"] != token
