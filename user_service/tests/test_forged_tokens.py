"""The holder of the shared key, such as the task service, cannot use or end any session."""

import time
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.models import Session, User
from chassis.auth import tokens
from chassis.auth.keys import shared_key
from chassis.testing.key_pairs import pair
from tests.conftest import allow_truncation

pytestmark = pytest.mark.django_db

LIFETIMES = {"access": 300, "refresh": 7 * 24 * 3600}


@pytest.fixture
def forge(settings):
    """Signs any claims with the shared key."""

    def sign(kind, **claims):
        now = int(time.time())
        issued = {"iss": "tmservice", "aud": "tmservice", "token_type": kind, "jti": uuid4().hex, "iat": now}
        about = {"exp": now + LIFETIMES[kind], "username": "ada", "role": "admin", "epoch": 0}
        key = shared_key(settings.JWT_SIGNING_KEY)
        return jwt.encode(issued | about | claims, key.material, algorithm=key.algorithm, headers={"kid": key.id})

    return sign


@pytest.fixture
def adas_session(client_of, ada):
    signed_in = client_of(ada)
    session = Session.objects.get()
    return signed_in, session


def session_rows(user):
    return list(Session.objects.filter(user=user).values())


def decode_claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def issued_by_the_previous_version(token, forge, **changes):
    """Return the token without the claims that this version added."""
    claims = decode_claims(token) | changes
    del claims["session"]
    return forge(claims["token_type"], **claims)


def test_numbers_open_no_session(client, ada, adas_session, forge):
    _, session = adas_session

    for number in range(1, session.pk + 4):
        for guess in ({}, {"session": f"{number:032x}"}, {"session": str(number)}, {"session": uuid4().hex}):
            client.set_tokens(forge("access", sub=str(ada.pk), sid=str(number), **guess))
            assert client.get("/user/users/").status_code == 401
            assert client.post("/token/verify/", {"token": client.access_token}).status_code == 401


def test_your_own_session_key_opens_no_other_account(client, client_of, ada, alice, adas_session, forge):
    own = decode_claims(client_of(alice).access_token)["session"]

    for kind, path, field in (("access", "/token/verify/", "token"), ("refresh", "/token/refresh/", "refresh")):
        token = forge(kind, sub=str(ada.pk), sid=str(adas_session[1].pk), session=own)
        assert client.post(path, {field: token}).status_code == 401


@pytest.mark.parametrize("path", ["/token/refresh/", "/token/logout/", "/token/verify/"])
@pytest.mark.parametrize("session", [{}, {"session": "0" * 32}])
def test_a_forged_refresh_token_changes_nothing(client, ada, adas_session, forge, path, session, caplog):
    signed_in, kept = adas_session
    token = forge("refresh", sub=str(ada.pk), sid=str(kept.pk), **session)
    before = session_rows(ada)

    answer = client.post(path, {"token" if "verify" in path else "refresh": token})

    assert answer.status_code == (204 if "logout" in path else 401)  # signing out twice succeeds
    assert session_rows(ada) == before
    assert signed_in.get("/user/me/").status_code == 200
    assert not [record for record in caplog.records if record.name == "security"]


def test_a_session_key_is_unique_and_never_in_a_response(client_of, alice):
    client = client_of(alice)
    Session.objects.open(alice)
    keys = {session.key.hex for session in Session.objects.all()}

    answer = client.get("/user/me/sessions/")

    assert len(keys) == 2
    assert not any(key in answer.content.decode().replace("-", "") for key in keys)
    assert type(answer.json()["results"][0]["id"]) is int


# Tokens of the previous version


def test_a_refresh_token_of_the_previous_version_works(client, client_of, alice, forge):
    old = issued_by_the_previous_version(client_of(alice).refresh_token, forge)

    assert client.post("/token/verify/", {"token": old}).status_code == 200
    answer = client.post("/token/refresh/", {"refresh": old})
    retry = client.post("/token/refresh/", {"refresh": old})

    assert (answer.status_code, retry.content) == (200, answer.content)
    assert decode_claims(answer.json()["access"])["session"] == Session.objects.get().key.hex
    client.set_tokens(**answer.json())
    assert client.get("/user/me/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_eight_parallel_refreshes_of_an_old_token_rotate_once(client, client_of, alice, forge, at_once):
    for round_ in range(6):
        old = issued_by_the_previous_version(client_of(alice).refresh_token, forge)
        session = Session.objects.latest("pk")

        answers = at_once(
            *[lambda old=old: client.post("/token/refresh/", {"refresh": old})] * 8,
            queued_at=session if round_ % 2 else None,
        )

        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.content for answer in answers}) == 1


def test_an_access_token_of_the_previous_version_is_refused(client, client_of, alice, forge):
    client.set_tokens(issued_by_the_previous_version(client_of(alice).access_token, forge))

    assert client.get("/user/me/").status_code == 401


def test_reuse_of_an_old_refresh_token_ends_the_session(client, client_of, alice, forge):
    old = issued_by_the_previous_version(client_of(alice).refresh_token, forge)
    client.post("/token/refresh/", {"refresh": old})
    Session.objects.update(rotated_at=timezone.now() - timedelta(seconds=11))

    assert client.post("/token/refresh/", {"refresh": old}).status_code == 401
    assert not Session.objects.exists()


def test_a_refresh_token_of_the_previous_version_signs_out(client, client_of, alice, forge):
    old = issued_by_the_previous_version(client_of(alice).refresh_token, forge)

    assert client.post("/token/logout/", {"refresh": old}).status_code == 204
    assert not Session.objects.exists()


def test_tokens_carry_the_claims_of_the_previous_version(client_of, alice):
    client, session = client_of(alice), Session.objects.get()

    assert {decode_claims(token)["sid"] for token in (client.access_token, client.refresh_token)} == {str(session.pk)}


@pytest.mark.django_db(transaction=True)
def test_old_sessions_get_keys_and_old_code_still_works(alice):
    executor = MigrationExecutor(connection)
    executor.migrate([("accounts", "0006_kept_answers")])
    now = timezone.now()
    values = {"current_jti": "a" * 32, "created_at": now, "rotated_at": now, "expires_at": now}
    old = executor.loader.project_state([("accounts", "0006_kept_answers")]).apps.get_model("accounts", "Session")

    try:
        for _ in range(2):
            old.objects.create(user_id=alice.pk, **values)
    finally:
        MigrationExecutor(connection).migrate(executor.loader.graph.leaf_nodes())
        allow_truncation()
    old.objects.create(user_id=alice.pk, **values)

    assert len(set(Session.objects.values_list("key", flat=True))) == 3


# With a key pair


def test_keys_of_the_task_service_sign_no_valid_token(client, client_of, alice, settings):
    settings.JWT_PREVIOUS_SIGNING_KEYS = []
    settings.JWT_PRIVATE_KEY = private = pair()
    settings.JWT_PUBLIC_KEYS = [private.public]
    signed_in = client_of(alice)
    everything_known = decode_claims(signed_in.access_token)

    settings.JWT_PRIVATE_KEY = None  # the task service has none
    forged = tokens.sign(everything_known), tokens.sign(decode_claims(signed_in.refresh_token))
    settings.JWT_PRIVATE_KEY = private

    assert client.post("/token/verify/", {"token": signed_in.access_token}).status_code == 200
    for token in forged:
        client.set_tokens(token)
        assert client.get("/user/me/").status_code == 401
        for path, field in (("/token/verify/", "token"), ("/token/refresh/", "refresh"), ("/token/logout/", "refresh")):
            assert client.post(path, {field: token}).status_code == 401
    assert User.objects.filter(sessions__isnull=False).exists()


@pytest.mark.parametrize("listed", [True, False])
def test_a_listed_shared_key_keeps_sessions_alive(client, client_of, alice, settings, listed):
    signed_in = client_of(alice)
    settings.JWT_PREVIOUS_SIGNING_KEYS = [settings.JWT_SIGNING_KEY] if listed else []
    settings.JWT_PRIVATE_KEY = pair()
    settings.JWT_PUBLIC_KEYS = [settings.JWT_PRIVATE_KEY.public]

    read, renewed = signed_in.get("/user/me/"), client.post("/token/refresh/", {"refresh": signed_in.refresh_token})

    assert [read.status_code, renewed.status_code] == ([200, 200] if listed else [401, 401])
    if listed:
        assert jwt.get_unverified_header(renewed.json()["access"])["kid"] == pair().id
