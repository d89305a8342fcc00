from datetime import timedelta

import jwt
import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import AuditEvent, Session, User

pytestmark = pytest.mark.django_db

URL = "/token/refresh/"


@pytest.fixture
def refresh(client):
    return lambda token: client.post(URL, {"refresh": token})


def pass_time(**time):
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(**time))


def decode_claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_refresh_returns_new_tokens(client_of, refresh, alice):
    client = client_of(alice)

    answer = refresh(client.refresh_token)

    assert answer.status_code == 200
    assert answer.json().keys() == {"access", "refresh"}
    assert client.access_token != answer.json()["access"]
    assert client.refresh_token != answer.json()["refresh"]


def test_both_new_tokens_work(client_of, refresh, alice):
    client = client_of(alice)

    client.set_tokens(**refresh(client.refresh_token).json())

    assert client.get(f"/user/users/{alice.pk}/").status_code == 200
    assert refresh(client.refresh_token).status_code == 200


def test_a_refreshed_token_has_the_current_role(client_of, refresh, ada, alice):
    client = client_of(alice)
    client_of(ada).patch(f"/user/users/{alice.pk}/", {"role": "admin", "username": "Alicia"})

    answer = refresh(client.refresh_token)

    claims = decode_claims(answer.json()["access"])
    assert (claims["role"], claims["username"]) == ("admin", "Alicia")


def test_a_retry_gets_the_same_response(client_of, refresh, alice):
    client = client_of(alice)

    first, *retries = (refresh(client.refresh_token) for _ in range(3))

    assert first.status_code == 200
    assert {retry.content for retry in retries} == {first.content}


def test_a_retry_within_ten_seconds_gets_the_same_response(client_of, refresh, alice):
    client = client_of(alice)
    successor = refresh(client.refresh_token).json()["refresh"]
    pass_time(seconds=8)

    answer = refresh(client.refresh_token)

    assert decode_claims(answer.json()["refresh"])["jti"] == decode_claims(successor)["jti"]


def test_a_retry_after_ten_seconds_ends_the_session(client_of, refresh, alice):
    client = client_of(alice)
    successor = refresh(client.refresh_token).json()
    pass_time(seconds=11)

    answer = refresh(client.refresh_token)

    assert answer.status_code == 401
    assert refresh(successor["refresh"]).status_code == 401
    client.set_tokens(**successor)
    assert client.get(f"/user/users/{alice.pk}/").status_code == 401


def test_an_older_token_ends_the_session_at_once(client_of, refresh, alice):
    client = client_of(alice)
    second = refresh(client.refresh_token).json()["refresh"]
    third = refresh(second).json()["refresh"]

    answer = refresh(client.refresh_token)

    assert answer.status_code == 401
    assert refresh(third).status_code == 401


def test_reuse_is_an_audit_event(client_of, refresh, alice):
    client = client_of(alice)
    session = Session.objects.get()
    refresh(refresh(client.refresh_token).json()["refresh"])

    refresh(client.refresh_token)

    event = AuditEvent.objects.latest("id")
    assert (event.event, event.actor_id, event.subject_id) == ("authn_token_reuse", None, alice.pk)
    assert event.details == {"session": session.pk}


def test_reuse_does_not_end_other_sessions(client_of, refresh, alice):
    robbed, other = client_of(alice), client_of(alice)
    refresh(refresh(robbed.refresh_token).json()["refresh"])

    refresh(robbed.refresh_token)

    assert refresh(other.refresh_token).status_code == 200


def test_an_access_token_is_no_refresh_token(client_of, refresh, alice):
    client = client_of(alice)

    answer = refresh(client.access_token)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert refresh(client.refresh_token).status_code == 200


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "..", "\u00e9", "x" * 4096])
def test_an_invalid_token_is_refused(refresh, token):
    assert refresh(token).status_code == 401


@pytest.mark.parametrize("body", [{}, {"refresh": ""}, {"refresh": None}, {"refresh": ["x"]}, {"refresh": {}}])
def test_a_body_without_a_token_is_refused(client, body):
    answer = client.post(URL, body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "refresh")


def test_an_unknown_field_is_refused(client_of, client, alice):
    answer = client.post(URL, {"refresh": client_of(alice).refresh_token, "role": "admin"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "role")


def test_a_session_ends_after_a_week_without_use(client_of, refresh, alice):
    client = client_of(alice)
    claims = decode_claims(client.refresh_token)
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600
    Session.objects.update(expires_at=timezone.now())

    answer = refresh(client.refresh_token)

    assert answer.status_code == 401


def test_a_deleted_account_is_signed_out(client_of, refresh, ada, alice):
    client = client_of(alice)
    client_of(ada).delete(f"/user/users/{alice.pk}/")

    answer = refresh(client.refresh_token)

    assert answer.status_code == 401


def test_a_deactivated_account_is_signed_out_for_good(client_of, refresh, ada, alice):
    client, admin = client_of(alice), client_of(ada)
    admin.patch(f"/user/users/{alice.pk}/", {"is_active": False})

    while_inactive = refresh(client.refresh_token)
    admin.patch(f"/user/users/{alice.pk}/", {"is_active": True})
    afterwards = refresh(client.refresh_token)

    assert (while_inactive.status_code, afterwards.status_code) == (401, 401)


def test_an_account_deactivated_in_the_database_is_refused(client_of, refresh, alice):
    client = client_of(alice)
    refresh(client.refresh_token)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    retry = refresh(client.refresh_token)

    assert retry.status_code == 401
    assert client.get(f"/user/users/{alice.pk}/").status_code == 401


def test_a_new_signing_key_ends_no_session(client_of, refresh, alice, settings):
    client = client_of(alice)
    settings.JWT_PREVIOUS_SIGNING_KEYS = [settings.JWT_SIGNING_KEY]
    settings.JWT_SIGNING_KEY = "another-key-of-these-tests-9876543210"

    answer = refresh(client.refresh_token)
    settings.JWT_PREVIOUS_SIGNING_KEYS = []

    assert answer.status_code == 200
    assert refresh(answer.json()["refresh"]).status_code == 200
    assert refresh(client.refresh_token).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_eight_parallel_refreshes_get_the_same_pair(client_of, refresh, at_once, alice):
    for round_ in range(30):
        client = client_of(alice)
        session = Session.objects.latest("pk")

        answers = at_once(
            *[lambda client=client: refresh(client.refresh_token)] * 8, queued_at=session if round_ % 2 else None
        )

        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.content for answer in answers}) == 1
        session.refresh_from_db()
        assert session.previous_jti == decode_claims(client.refresh_token)["jti"]
        assert session.current_jti == decode_claims(answers[0].json()["refresh"])["jti"]
