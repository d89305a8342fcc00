"""Refresh and sign-out with a valid token count by account, not by address."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts.models import Session, User
from chassis.models import Window
from chassis.testing.limiting import read_limit, read_limits, read_retry_after, set_limits
from tests.conftest import Client

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

REFRESH, LOGOUT = "/token/refresh/", "/token/logout/"
OK = {REFRESH: 200, LOGOUT: 204}
each_path = pytest.mark.parametrize("path", [REFRESH, LOGOUT])


@pytest.fixture(autouse=True)
def _default_limits(settings):
    set_limits(settings, admin="10/min", user="10/min", anon="5/min", signup="60/min")


@pytest.fixture
def refresh_token(client_of):
    def make(user):
        return client_of(user).refresh_token

    return make


def send(path, token, **options):
    return Client().post(path, {"refresh": token}, **options)


def counts():
    return dict(Window.objects.values_list("key", "requests"))


@each_path
def test_a_valid_refresh_token_counts_by_account(refresh_token, path, alice):
    answer = send(path, refresh_token(alice))

    assert answer.status_code == OK[path]
    assert read_limit(answer)[:4] == ("user", 10, 60, 9)
    assert counts() == {f"user {alice.pk}": 1}


@each_path
def test_eight_users_behind_one_address_do_not_share_a_limit(refresh_token, person, path):
    tokens = [refresh_token(person(f"Person{number}")) for number in range(8)]

    assert [send(path, token).status_code for token in tokens] == [OK[path]] * 8


@each_path
def test_invalid_tokens_do_not_block_valid_ones(refresh_token, path, alice):
    junk = [send(path, "a.b.c").status_code for _ in range(6)]

    assert junk == [401] * 5 + [429]
    assert send(path, refresh_token(alice)).status_code == OK[path]


@each_path
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"refresh": []}', "application/json", 400),
        (b'{"refresh": "%s"}' % (b"x" * 1_100_000), "application/json", 413),
        (b"refresh=x", "application/x-www-form-urlencoded", 415),
    ],
    ids=["no JSON", "nothing", "no object", "no text", "too large", "a form"],
)
def test_an_unreadable_body_counts_by_address(path, body, content_type, status):
    answers = [Client().generic("POST", path, body, content_type=content_type) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [status] * 5 + [429]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}


@each_path
def test_another_method_counts_by_address(path):
    answers = [Client().get(path) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [405] * 5 + [429]


@each_path
def test_a_token_of_an_ended_session_counts_by_address(refresh_token, path, alice, bob):
    ended, deactivated, expired = refresh_token(alice), refresh_token(bob), refresh_token(alice)
    Session.objects.filter(user=alice).order_by("pk").first().delete()
    User.objects.filter(pk=bob.pk).update(is_active=False)
    Session.objects.filter(user=alice).update(expires_at=F("created_at"))

    answers = [send(path, token) for token in (ended, deactivated, expired)]

    assert [read_limit(answer).scope for answer in answers] == ["anon"] * 3
    assert counts() == {"address 127.0.0.1": 3}


@each_path
def test_an_access_token_counts_by_address(client_of, path, alice):
    answer = send(path, client_of(alice).access_token)

    assert (answer.status_code, read_limit(answer).scope) == (401, "anon")


@each_path
def test_the_scope_is_the_current_role(settings, refresh_token, path, alice):
    set_limits(settings, admin="7/min", user="3/min", anon="5/min")
    token = refresh_token(alice)
    User.objects.filter(pk=alice.pk).update(role="admin")

    assert read_limit(send(path, token))[:2] == ("admin", 7)


def test_requests_and_refreshes_share_a_count(client_of, alice):
    caller = client_of(alice)
    requests = [caller.get("/user/me/").status_code for _ in range(9)]

    refreshes = [send(REFRESH, caller.refresh_token).status_code for _ in range(2)]

    assert requests + refreshes == [200] * 10 + [429]


def test_a_refused_refresh_does_not_rotate(settings, refresh_token, alice):
    set_limits(settings, user="1/min", anon="5/min")
    first = refresh_token(alice)
    fresh = send(REFRESH, first).json()["refresh"]
    before = Session.objects.values().get()

    refused = send(REFRESH, fresh)

    assert 58 <= read_retry_after(refused) <= 60
    assert Session.objects.values().get() == before
    Window.objects.all().delete()
    assert send(REFRESH, fresh).status_code == 200


def test_a_refused_sign_out_ends_nothing(settings, client_of, alice):
    set_limits(settings, user="1/min", anon="5/min")
    caller = client_of(alice)
    caller.get("/user/me/")

    assert send(LOGOUT, caller.refresh_token).status_code == 429
    assert Session.objects.count() == 1


def test_a_retry_counts_by_account(refresh_token, alice):
    token = refresh_token(alice)

    answers = [send(REFRESH, token) for _ in range(2)]

    assert answers[0].json() == answers[1].json()
    assert [read_limit(answer)[0::3] for answer in answers] == [("user", 9), ("user", 8)]


@pytest.mark.parametrize("seconds", [11, 600])
def test_reuse_counts_by_address_and_ends_the_session(refresh_token, alice, seconds):
    token = refresh_token(alice)
    send(REFRESH, token)
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(seconds=seconds))

    reused = send(REFRESH, token)

    assert (reused.status_code, read_limit(reused).scope) == (401, "anon")
    assert not Session.objects.exists()


def test_sign_out_with_a_replaced_token_counts_by_account(refresh_token, alice):
    token = refresh_token(alice)
    send(REFRESH, token)
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(seconds=11))

    assert read_limit(send(LOGOUT, token))[0::3] == ("user", 8)


def test_a_disabled_user_limit_does_not_count_by_address(settings, refresh_token, alice):
    set_limits(settings, user=None, anon="1/min")

    answers = [send(REFRESH, refresh_token(alice)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert [read_limits(answer) for answer in answers] == [[]] * 3
    assert counts() == {}


@each_path
def test_counting_costs_one_statement(settings, refresh_token, path, alice):
    token = refresh_token(alice)
    set_limits(settings, anon="5/min", user="9/min")
    with CaptureQueriesContext(connection) as captured:
        assert send(path, token).status_code == OK[path]

    counting = [query for query in captured if "chassis_window" in query["sql"]]
    assert len(counting) == 1
    assert captured[0] == counting[0]


def test_refusing_an_invalid_token_costs_one_statement(db):
    with CaptureQueriesContext(connection) as captured:
        for _ in range(7):
            send(REFRESH, "a.b.c")

    assert len(captured) == 7


@COMMITTING
def test_ten_of_thirty_parallel_refreshes_are_served(refresh_token, at_once, alice):
    token = refresh_token(alice)

    answers = at_once(*[lambda: send(REFRESH, token)] * 30)

    let_in = [answer.json() for answer in answers if answer.status_code == 200]
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 20
    assert all(pair == let_in[0] for pair in let_in)
    assert let_in[0]["refresh"] != token
