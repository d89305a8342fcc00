import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from accounts.models import Session, User
from accounts.models.session import SessionQuerySet
from chassis.testing.threads import wait_for_lock_waiter
from tests.conftest import status_and_fields

pytestmark = pytest.mark.django_db

URL = "/token/"
WRONG = "eight green bicycles"


@pytest.fixture
def sign_in(client, password):
    def post(username="Alice", password=password, **headers):
        return client.post(URL, {"username": username, "password": password}, headers=headers)

    return post


def test_a_sign_in_returns_working_tokens(client, sign_in, alice):
    answer = sign_in()

    assert answer.status_code == 200
    assert answer.json().keys() == {"access", "refresh"}
    client.set_tokens(**answer.json())
    assert client.get("/user/me/").json()["username"] == "Alice"


@pytest.mark.parametrize("login", ["alice", "ALICE", "alice@example.com", "ALICE@Example.COM"])
def test_username_or_email_in_any_case_signs_in(sign_in, alice, login):
    assert sign_in(login).status_code == 200


def test_a_failed_sign_in_does_not_reveal_why(sign_in, alice, ivan, password, hash_computations):
    names = ["Nobody", "nobody@example.com", "Alice", "alice@example.com"]
    attempts = [*((name, WRONG) for name in names), ("Ivan", password), ("Ivan", WRONG)]

    seen = set()
    for username, tried in attempts:
        hash_computations.clear()
        answer = sign_in(username, tried, **{"X-Request-ID": "the-same"})
        headers = tuple(sorted(answer.headers.items()))
        seen.add((answer.status_code, answer.content, headers, len(hash_computations)))

    ((status, _, headers, computations),) = seen
    assert (status, computations) == (401, 1)
    assert dict(headers)["WWW-Authenticate"].startswith("Bearer")
    assert not Session.objects.exists()


def test_every_sign_in_costs_one_hash(sign_in, alice, hash_computations):
    sign_in()

    assert hash_computations == ["verify"]


@pytest.mark.parametrize("whitespace", [" {}", "{} ", "{}\n"])
def test_whitespace_around_the_password_counts(sign_in, alice, password, whitespace):
    assert sign_in(password=whitespace.format(password)).status_code == 401


@pytest.mark.parametrize("login", ["Al\u0131ce", "Alice\u200b", "' OR 1=1 --", "%", "Al_ce", "x" * 254])
def test_a_similar_username_does_not_sign_in(sign_in, alice, login):
    assert sign_in(login).status_code == 401


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["username", "password"]),
        ({"username": "Alice", "password": 5}, ["password"]),
        ({"username": {"$ne": ""}, "password": "x"}, ["username"]),
        ({"username": "Alice", "password": "x", "role": "admin"}, ["role"]),
    ],
)
def test_an_invalid_body_is_refused(client, body, fields):
    assert status_and_fields(client.post(URL, body)) == (400, fields)


@pytest.mark.parametrize("header", ["Bearer left.over.token", "Basic QTpC", "nonsense"])
def test_an_old_authorization_header_is_ignored(sign_in, alice, header):
    assert sign_in(Authorization=header).status_code == 200


def test_neither_passwords_nor_tokens_reach_the_log(client, client_of, sign_in, alice, password, caplog):
    caplog.set_level(logging.DEBUG)

    sign_in(password=WRONG)
    signed_in = client_of(alice)
    client.post("/token/refresh/", {"refresh": signed_in.access_token})
    client.get("/user/users/", headers={"Authorization": f"Bearer {signed_in.refresh_token}"})

    assert "token refused" in caplog.text
    for secret in (password, WRONG, signed_in.access_token, signed_in.refresh_token):
        assert secret not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_sign_in_during_a_delete_is_refused(sign_in, client_of, at_once, ada, person):
    admin = client_of(ada)

    for round_ in range(5):
        eve = person(f"Eve{round_}")
        signing_in, deleting = at_once(
            lambda eve=eve: sign_in(eve.username).status_code,
            lambda eve=eve: admin.delete(f"/user/users/{eve.pk}/").status_code,
        )

        assert deleting == 204
        assert signing_in in (200, 401)
        assert not User.objects.filter(pk=eve.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_a_deactivation_waits_for_a_sign_in_and_ends_it(sign_in, client_of, ada, alice, monkeypatch):
    """The sign-in is about to store its session when an admin deactivates the account."""
    admin, create = client_of(ada), SessionQuerySet.create

    def deactivate():
        try:
            return admin.patch(f"/user/users/{alice.pk}/", {"is_active": False}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        deactivations = []

        def create_late(self, **fields):
            deactivations.append(pool.submit(deactivate))
            wait_for_lock_waiter()
            return create(self, **fields)

        monkeypatch.setattr(SessionQuerySet, "create", create_late)
        answer = sign_in()

    assert (answer.status_code, deactivations[0].result()) == (200, 200)
    assert not alice.sessions.exists()
