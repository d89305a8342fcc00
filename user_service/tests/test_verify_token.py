import pytest
from django.utils import timezone

from accounts.models import Session, User
from chassis.auth.tokens import issue_service_token
from tests.conftest import status_and_fields

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


@pytest.fixture
def refresh(client):
    return lambda token: client.post("/token/refresh/", {"refresh": token}).json()


def both(client):
    return client.access_token, client.refresh_token


def test_a_valid_token_is_200(client_of, client, alice):
    answers = [client.post(URL, {"token": token}) for token in both(client_of(alice))]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {})] * 2


def test_verification_changes_nothing(client_of, verify, alice):
    signed_in = client_of(alice)
    before = Session.objects.values().get()

    assert [verify(token) for token in both(signed_in) * 2] == [200] * 4
    assert Session.objects.values().get() == before


def test_a_used_refresh_token_is_invalid_but_ends_nothing(client_of, verify, refresh, alice, clock):
    signed_in = client_of(alice)
    renewed = refresh(signed_in.refresh_token)

    assert verify(signed_in.refresh_token) == 401
    clock.advance(seconds=11)
    assert verify(signed_in.refresh_token) == 401
    assert [verify(renewed[kind]) for kind in ("access", "refresh")] == [200, 200]


@pytest.mark.parametrize(
    "end",
    [
        lambda client, user: client.post("/token/logout/", {"refresh": client.refresh_token}),
        lambda client, user: client.post("/token/logout-all/"),
        lambda client, user: user.sessions.update(expires_at=timezone.now()),
        lambda client, user: user.change(is_active=False),
        lambda client, user: User.objects.filter(pk=user.pk).update(is_active=False),
        lambda client, user: user.remove(),
    ],
    ids=["logout", "logout-all", "expiry", "deactivation", "deactivation in the database", "deletion"],
)
def test_tokens_of_an_ended_session_are_invalid(client_of, verify, alice, bob, end):
    client, bobs = client_of(alice), client_of(bob)

    end(client, alice)

    assert [verify(token) for token in (*both(client), *both(bobs))] == [401, 401, 200, 200]


def test_a_token_of_another_key_is_invalid(client_of, verify, alice, settings):
    tokens = both(client_of(alice))
    settings.JWT_SIGNING_KEY = "another-key-of-these-tests-9876543210"

    assert [verify(token) for token in tokens] == [401, 401]


def test_anything_else_is_invalid(client_of, verify, alice):
    token = client_of(alice).access_token
    spoilt = [f"Bearer {token}", token[:-6], f"{token}.x", f"{token}x", "nonsense", "\u00e9", "x" * 4096]

    assert [verify(each) for each in (*spoilt, issue_service_token("task_service"))] == [401] * 8


def test_an_authorization_header_is_ignored(client_of, alice):
    client = client_of(alice)
    good = client.access_token
    client.set_tokens("left.over.token")

    assert client.post(URL, {"token": good}).status_code == 200
    client.set_tokens(good)
    assert client.post(URL, {"token": "left.over.token"}).status_code == 401


@pytest.mark.parametrize("body", [{}, *({"token": value} for value in ("", " ", None, ["x"], {}))])
def test_a_body_without_a_token_is_refused(client, body):
    assert status_and_fields(client.post(URL, body)) == (400, ["token"])
