"""The holder of the shared key, such as the task service, cannot use or end any session."""

import time
from uuid import uuid4

import jwt
import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.models import Session
from chassis.auth import tokens
from chassis.testing.forge import MISSING, claims, read_claims, signed
from chassis.testing.key_pairs import pair
from tests.conftest import allow_truncation, statuses

pytestmark = pytest.mark.django_db

REFRESH, VERIFY, LOGOUT = "/token/refresh/", "/token/verify/", "/token/logout/"
LIFETIMES = {"access": 300, "refresh": 7 * 24 * 3600}


@pytest.fixture
def forge(settings):
    """Signs any claims with the shared key."""

    def sign(kind, **changes):
        about = {"username": "ada", "role": "admin", "jti": uuid4().hex, "exp": int(time.time()) + LIFETIMES[kind]}
        no_session = {"sid": MISSING, "session": MISSING}
        return signed(claims(**no_session | about | {"token_type": kind} | changes), key=settings.JWT_SIGNING_KEY)

    return sign


@pytest.fixture
def adas_session(client_of, ada):
    signed_in = client_of(ada)
    session = Session.objects.get()
    return signed_in, session


@pytest.fixture
def old_token(client_of, alice, forge):
    """Returns a token of Alice without the claims that this version added."""

    def make(kind):
        issued = read_claims(getattr(client_of(alice), f"{kind}_token"))
        return forge(kind, **issued | {"session": MISSING})

    return make


def test_numbers_open_no_session(client, ada, adas_session, forge):
    _, session = adas_session

    for number in (1, session.pk - 1, session.pk, session.pk + 1):
        for guess in ({}, {"session": f"{number:032x}"}, {"session": str(number)}, {"session": uuid4().hex}):
            client.set_tokens(forge("access", sub=str(ada.pk), sid=str(number), **guess))
            assert client.get("/user/users/").status_code == 401
            assert client.post(VERIFY, {"token": client.access_token}).status_code == 401


def test_your_own_session_key_opens_no_other_account(client, client_of, ada, alice, adas_session, forge):
    own = read_claims(client_of(alice).access_token)["session"]

    for kind, path, field in (("access", VERIFY, "token"), ("refresh", REFRESH, "refresh")):
        token = forge(kind, sub=str(ada.pk), sid=str(adas_session[1].pk), session=own)
        assert client.post(path, {field: token}).status_code == 401


@pytest.mark.parametrize(
    ("path", "field", "status"),
    [(REFRESH, "refresh", 401), (VERIFY, "token", 401), (LOGOUT, "refresh", 204)],  # signing out twice succeeds
)
@pytest.mark.parametrize("session", [{}, {"session": "0" * 32}])
def test_a_forged_refresh_token_changes_nothing(client, ada, adas_session, forge, path, field, status, session, caplog):
    signed_in, kept = adas_session
    before = Session.objects.values().get()

    answer = client.post(path, {field: forge("refresh", sub=str(ada.pk), sid=str(kept.pk), **session)})

    assert answer.status_code == status
    assert Session.objects.values().get() == before
    assert signed_in.get("/user/me/").status_code == 200
    assert not [record for record in caplog.records if record.name == "security"]


# Tokens of the previous version


def test_a_refresh_token_of_the_previous_version_works(client, old_token, refresh):
    old = old_token("refresh")

    assert client.post(VERIFY, {"token": old}).status_code == 200
    answer, retry = refresh(old), refresh(old)

    assert (answer.status_code, retry.content) == (200, answer.content)
    assert read_claims(answer.json()["access"])["session"] == Session.objects.get().key.hex
    client.set_tokens(**answer.json())
    assert client.get("/user/me/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_eight_parallel_refreshes_of_an_old_token_rotate_once(old_token, refresh, at_once, clock):
    for round_ in range(6):
        old = old_token("refresh")
        session = Session.objects.latest("pk")

        answers = at_once(*[lambda old=old: refresh(old)] * 8, queued_at=session if round_ % 2 else None)

        assert statuses(answers) == [200] * 8
        assert len({answer.content for answer in answers}) == 1


def test_an_access_token_of_the_previous_version_is_refused(client, old_token):
    client.set_tokens(old_token("access"))

    assert client.get("/user/me/").status_code == 401


def test_reuse_of_an_old_refresh_token_ends_the_session(old_token, refresh, clock):
    old = old_token("refresh")
    refresh(old)
    clock.advance(seconds=11)

    assert refresh(old).status_code == 401
    assert not Session.objects.exists()


def test_a_refresh_token_of_the_previous_version_signs_out(client, old_token):
    assert client.post(LOGOUT, {"refresh": old_token("refresh")}).status_code == 204
    assert not Session.objects.exists()


def test_tokens_carry_the_claims_of_the_previous_version(client_of, alice):
    client, session = client_of(alice), Session.objects.get()

    assert {read_claims(token)["sid"] for token in (client.access_token, client.refresh_token)} == {str(session.pk)}


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


@pytest.fixture
def use_key_pair(settings):
    def use(*, previous):
        settings.JWT_PREVIOUS_SIGNING_KEYS = previous
        settings.JWT_PRIVATE_KEY = pair()
        settings.JWT_PUBLIC_KEYS = [pair().public]

    return use


def test_keys_of_the_task_service_sign_no_valid_token(client, client_of, alice, settings, use_key_pair):
    use_key_pair(previous=[])
    signed_in = client_of(alice)

    settings.JWT_PRIVATE_KEY = None  # the task service has none
    forged = [tokens.sign(read_claims(token)) for token in (signed_in.access_token, signed_in.refresh_token)]
    settings.JWT_PRIVATE_KEY = pair()

    assert client.post(VERIFY, {"token": signed_in.access_token}).status_code == 200
    for token in forged:
        client.set_tokens(token)
        assert client.get("/user/me/").status_code == 401
        for path, field in ((VERIFY, "token"), (REFRESH, "refresh"), (LOGOUT, "refresh")):
            assert client.post(path, {field: token}).status_code == 401
    assert alice.sessions.exists()


@pytest.mark.parametrize("listed", [True, False])
def test_a_listed_shared_key_keeps_sessions_alive(client_of, refresh, alice, settings, use_key_pair, listed):
    signed_in = client_of(alice)
    use_key_pair(previous=[settings.JWT_SIGNING_KEY] if listed else [])

    read, renewed = signed_in.get("/user/me/"), refresh(signed_in.refresh_token)

    assert statuses([read, renewed]) == ([200, 200] if listed else [401, 401])
    if listed:
        assert jwt.get_unverified_header(renewed.json()["access"])["kid"] == pair().id
