from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import Session, User
from chassis.auth.tokens import issue_service_token

pytestmark = pytest.mark.django_db

URL = "/token/verify/"


@pytest.fixture
def verify(client):
    def post(token):
        answer = client.post(URL, {"token": token})
        if answer.status_code == 401:
            assert answer.json()["code"] == "token_invalid"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        return answer.status_code

    return post


def both(client):
    return client.access_token, client.refresh_token


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_valid_token_is_200(client_of, client, alice, kind):
    answer = client.post(URL, {"token": getattr(client_of(alice), kind)})

    assert (answer.status_code, answer.json()) == (200, {})


def test_verification_changes_nothing(client_of, client, verify, alice):
    signed_in = client_of(alice)
    before = Session.objects.values().get()

    statuses = [verify(token) for token in both(signed_in) * 2]

    assert statuses == [200] * 4
    assert Session.objects.values().get() == before
    assert client.post("/token/refresh/", {"refresh": signed_in.refresh_token}).status_code == 200


def test_a_used_refresh_token_is_invalid(client_of, client, verify, alice):
    signed_in = client_of(alice)
    renewed = client.post("/token/refresh/", {"refresh": signed_in.refresh_token}).json()

    assert verify(signed_in.refresh_token) == 401
    assert verify(renewed["refresh"]) == 200
    assert verify(renewed["access"]) == 200
    assert client.post("/token/refresh/", {"refresh": renewed["refresh"]}).status_code == 200


def test_verifying_a_used_token_does_not_end_the_session(client_of, client, verify, alice):
    signed_in = client_of(alice)
    renewed = client.post("/token/refresh/", {"refresh": signed_in.refresh_token}).json()
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(minutes=1))

    assert verify(signed_in.refresh_token) == 401
    assert verify(renewed["refresh"]) == 200


@pytest.mark.parametrize(
    "end",
    [
        lambda client, user: client.post("/token/logout/", {"refresh": client.refresh_token}),
        lambda client, user: client.post("/token/logout-all/"),
        lambda client, user: Session.objects.update(expires_at=timezone.now()),
        lambda client, user: user.change(is_active=False),
        lambda client, user: User.objects.filter(pk=user.pk).update(is_active=False),
        lambda client, user: user.remove(),
    ],
    ids=["logout", "logout-all", "expiry", "deactivation", "deactivation behind our back", "deletion"],
)
def test_tokens_of_an_ended_session_are_invalid(client_of, verify, alice, end):
    client = client_of(alice)

    end(client, alice)

    assert [verify(token) for token in both(client)] == [401, 401]


def test_tokens_of_other_sessions_stay_valid(client_of, client, verify, alice, bob):
    ended, other, bobs = client_of(alice), client_of(alice), client_of(bob)
    client.post("/token/logout/", {"refresh": ended.refresh_token})

    assert [verify(token) for token in (*both(other), *both(bobs))] == [200] * 4


def test_a_token_of_another_key_is_invalid(client_of, verify, alice, settings):
    tokens = both(client_of(alice))
    settings.JWT_SIGNING_KEY = "another-key-of-these-tests-9876543210"

    assert [verify(token) for token in tokens] == [401, 401]


def test_a_service_token_is_invalid(verify):
    assert verify(issue_service_token("task_service")) == 401


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "..", "\u00e9", " ", "Bearer x", "x" * 4096])
def test_garbage_is_invalid(client, token):
    answer = client.post(URL, {"token": token})

    assert answer.status_code == (400 if token == " " else 401)


def test_a_token_with_extra_text_is_invalid(client_of, verify, alice):
    token = client_of(alice).access_token

    assert [verify(spoilt) for spoilt in (f"Bearer {token}", token[:-6], f"{token}.x", f"{token}x")] == [401] * 4


def test_an_authorization_header_is_ignored(client_of, alice):
    client = client_of(alice)
    good = client.access_token
    client.set_tokens("left.over.token")

    assert client.post(URL, {"token": good}).status_code == 200
    client.set_tokens(good)
    assert client.post(URL, {"token": "left.over.token"}).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "token"),
        ({"token": ""}, "token"),
        ({"token": None}, "token"),
        ({"token": ["x"]}, "token"),
        ({"token": {}}, "token"),
        ({"access": "x"}, "access"),
        ({"token": "x", "type": "access"}, "type"),
    ],
)
def test_an_invalid_body_is_refused(client, body, field):
    answer = client.post(URL, body)

    assert answer.status_code == 400
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_an_empty_body_is_refused(client):
    answer = client.post(URL)

    assert answer.status_code == 400


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_another_method_is_405(client, method):
    assert getattr(client, method)(URL).status_code == 405
