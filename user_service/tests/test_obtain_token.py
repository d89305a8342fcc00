import logging
from concurrent.futures import ThreadPoolExecutor, wait

import jwt
import pytest
from django.conf import settings
from django.db import connection

from accounts.models import Session, User
from accounts.models.session import SessionQuerySet

pytestmark = pytest.mark.django_db

URL = "/token/"


def test_a_sign_in_returns_working_tokens(client, alice, password):
    answer = client.post(URL, {"username": "Alice", "password": password})

    assert answer.status_code == 200
    assert answer.json().keys() == {"access", "refresh"}
    client.set_tokens(**answer.json())
    assert client.get(f"/user/users/{alice.pk}/").json()["username"] == "Alice"


@pytest.mark.parametrize("login", ["alice", "ALICE", "alice@example.com", "ALICE@Example.COM"])
def test_username_or_email_in_any_case_signs_in(client, alice, password, login):
    answer = client.post(URL, {"username": login, "password": password})

    assert answer.status_code == 200


def test_the_access_token_names_its_user_and_expiry(client_of, alice):
    token = client_of(alice).access_token

    claims = jwt.decode(token, settings.JWT_SIGNING_KEY, algorithms=["HS256"], audience="tmservice", issuer="tmservice")
    assert "kid" in jwt.get_unverified_header(token)
    assert (claims["sub"], claims["username"], claims["role"]) == (str(alice.pk), "Alice", "user")
    assert (claims["token_type"], claims["sid"]) == ("access", str(Session.objects.get().pk))
    assert claims["exp"] - claims["iat"] == 5 * 60


def test_a_failed_sign_in_does_not_reveal_why(client, alice, ivan, password, hash_computations):
    attempts = [
        ("Nobody", password),
        ("nobody@example.com", password),
        ("Alice", "eight green bicycles"),
        ("alice@example.com", "eight green bicycles"),
        ("Ivan", password),
        ("Ivan", "eight green bicycles"),
    ]

    seen = set()
    for username, tried in attempts:
        hash_computations.clear()
        answer = client.post(URL, {"username": username, "password": tried}, headers={"X-Request-ID": "the-same"})
        headers = tuple(sorted(answer.headers.items()))
        seen.add((answer.status_code, answer.content, headers, len(hash_computations)))

    ((status, _, headers, computations),) = seen
    assert (status, computations) == (401, 1)
    assert dict(headers)["WWW-Authenticate"].startswith("Bearer")
    assert not Session.objects.exists()


def test_every_sign_in_costs_one_hash(client, alice, password, hash_computations):
    client.post(URL, {"username": "Alice", "password": password})

    assert hash_computations == ["verify"]


@pytest.mark.parametrize("blanks", [" {}", "{} ", "{}\n"])
def test_whitespace_around_the_password_counts(client, alice, password, blanks):
    answer = client.post(URL, {"username": "Alice", "password": blanks.format(password)})

    assert answer.status_code == 401


@pytest.mark.parametrize("login", ["Al\u0131ce", "Alice\u200b", "' OR 1=1 --", "%", "Al_ce", "x" * 254])
def test_a_similar_username_does_not_sign_in(client, alice, password, login):
    answer = client.post(URL, {"username": login, "password": password})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "username"),
        ({"username": "Alice"}, "password"),
        ({"username": "Alice", "password": 5}, "password"),
        ({"username": ["Alice"], "password": "x"}, "username"),
        ({"username": {"$ne": ""}, "password": "x"}, "username"),
        ({"username": "Alice", "password": "x", "role": "admin"}, "role"),
    ],
)
def test_an_invalid_body_is_refused(client, body, field):
    answer = client.post(URL, body)

    assert answer.status_code == 400
    assert field in [error["field"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("header", ["Bearer left.over.token", "Basic QTpC", "nonsense"])
def test_an_old_authorization_header_is_ignored(client, alice, password, header):
    answer = client.post(URL, {"username": "Alice", "password": password}, headers={"Authorization": header})

    assert answer.status_code == 200


def test_each_sign_in_opens_its_own_session(client_of, alice):
    first, second = client_of(alice), client_of(alice)

    assert first.refresh_token != second.refresh_token
    assert alice.sessions.count() == 2


def test_neither_passwords_nor_tokens_reach_the_log(client, client_of, alice, password, caplog):
    caplog.set_level(logging.DEBUG)

    client.post(URL, {"username": "Alice", "password": "eight green bicycles"})
    signed_in = client_of(alice)
    client.post("/token/refresh/", {"refresh": signed_in.access_token})
    client.get("/user/users/", headers={"Authorization": f"Bearer {signed_in.refresh_token}"})

    assert "token refused" in caplog.text
    for secret in (password, "eight green bicycles", signed_in.access_token, signed_in.refresh_token):
        assert secret not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_sign_in_during_a_delete_is_refused(client, client_of, at_once, ada, person, password):
    admin = client_of(ada)

    for round_ in range(10):
        eve = person(f"Eve{round_}")
        signing_in, deleting = at_once(
            lambda eve=eve: client.post(URL, {"username": eve.username, "password": password}).status_code,
            lambda eve=eve: admin.delete(f"/user/users/{eve.pk}/").status_code,
        )

        assert deleting == 204
        assert signing_in in (200, 401)
        assert not User.objects.filter(pk=eve.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_a_sign_in_during_a_deactivation_leaves_no_session(client, client_of, ada, alice, password, monkeypatch):
    """The sign-in is about to store its session when an admin deactivates the account."""
    admin, create = client_of(ada), SessionQuerySet.create

    def deactivate():
        try:
            assert admin.patch(f"/user/users/{alice.pk}/", {"is_active": False}).status_code == 200
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:

        def create_late(self, **fields):
            wait([pool.submit(deactivate)], timeout=0.2)  # long enough to commit if nothing blocks it
            return create(self, **fields)

        monkeypatch.setattr(SessionQuerySet, "create", create_late)
        answer = client.post("/token/", {"username": "Alice", "password": password})
    admin.patch(f"/user/users/{alice.pk}/", {"is_active": True})

    assert answer.status_code in (200, 401)
    assert not alice.sessions.exists()
