import pytest
from django.utils import timezone

from accounts.models import AuditEvent, Session, User
from chassis.testing.forge import read_claims
from tests.conftest import status_and_fields, statuses

pytestmark = pytest.mark.django_db

URL, ME = "/token/refresh/", "/user/me/"


def test_a_refresh_returns_new_tokens(client_of, refresh, alice):
    client = client_of(alice)

    answer = refresh(client.refresh_token)

    assert answer.status_code == 200
    assert answer.json().keys() == {"access", "refresh"}
    assert not {client.access_token, client.refresh_token} & set(answer.json().values())
    client.set_tokens(**answer.json())
    assert client.get(ME).status_code == 200
    assert refresh(client.refresh_token).status_code == 200


def test_a_refreshed_token_has_the_current_role(client_of, refresh, ada, alice):
    client = client_of(alice)
    alice.change(role="admin", username="Alicia", by=ada)

    claims = read_claims(refresh(client.refresh_token).json()["access"])

    assert (claims["role"], claims["username"]) == ("admin", "Alicia")


def test_a_retry_within_ten_seconds_gets_the_same_response(client_of, refresh, alice, clock):
    client = client_of(alice)
    first = refresh(client.refresh_token)
    clock.advance(seconds=10)

    retry = refresh(client.refresh_token)

    assert (first.status_code, retry.content) == (200, first.content)


def test_a_retry_after_ten_seconds_ends_the_session(client_of, refresh, alice, clock):
    client = client_of(alice)
    successor = refresh(client.refresh_token).json()
    clock.advance(seconds=10, microseconds=1)

    answer = refresh(client.refresh_token)

    assert answer.status_code == 401
    assert refresh(successor["refresh"]).status_code == 401
    client.set_tokens(**successor)
    assert client.get(ME).status_code == 401


def test_an_older_token_ends_its_session_at_once(client_of, refresh, alice):
    robbed, other = client_of(alice), client_of(alice)
    session = alice.sessions.earliest("pk")
    second = refresh(robbed.refresh_token).json()["refresh"]
    third = refresh(second).json()["refresh"]

    answer = refresh(robbed.refresh_token)

    event = AuditEvent.objects.latest("id")
    assert answer.status_code == 401
    assert (event.event, event.actor_id, event.subject_id) == ("authn_token_reuse", None, alice.pk)
    assert event.details == {"session": session.pk}
    assert statuses(refresh(token) for token in (third, other.refresh_token)) == [401, 200]


def test_an_invalid_token_is_refused_and_ends_nothing(client_of, refresh, alice):
    client = client_of(alice)

    answers = [refresh(token) for token in (client.access_token, "nonsense", "a.b.c", "..", "\u00e9", "x" * 4096)]

    assert statuses(answers) == [401] * 6
    assert all(answer.headers["WWW-Authenticate"].startswith("Bearer") for answer in answers)
    assert refresh(client.refresh_token).status_code == 200


@pytest.mark.parametrize("path", [URL, "/token/logout/"])
@pytest.mark.parametrize("body", [{}, *({"refresh": value} for value in ("", None, ["x"], {}))])
def test_a_body_without_a_token_is_refused(client, path, body):
    assert status_and_fields(client.post(path, body)) == (400, ["refresh"])


def test_a_session_ends_after_a_week_without_use(client_of, refresh, alice):
    client = client_of(alice)
    claims = read_claims(client.refresh_token)
    Session.objects.update(expires_at=timezone.now())

    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600
    assert refresh(client.refresh_token).status_code == 401


@pytest.mark.parametrize(
    "end",
    [
        lambda user: user.remove(),
        lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
        lambda user: [user.change(is_active=active) for active in (False, True)],
    ],
    ids=["deleted", "deactivated in the database", "deactivated for a while"],
)
def test_the_owner_of_an_ended_account_is_signed_out(client_of, refresh, alice, end):
    client = client_of(alice)
    refresh(client.refresh_token)

    end(alice)

    assert statuses([refresh(client.refresh_token), client.get(ME)]) == [401, 401]


def test_a_new_signing_key_ends_no_session(client_of, refresh, alice, settings):
    client = client_of(alice)
    settings.JWT_PREVIOUS_SIGNING_KEYS = [settings.JWT_SIGNING_KEY]
    settings.JWT_SIGNING_KEY = "another-key-of-these-tests-9876543210"

    answer = refresh(client.refresh_token)
    settings.JWT_PREVIOUS_SIGNING_KEYS = []

    assert answer.status_code == 200
    assert statuses(refresh(token) for token in (answer.json()["refresh"], client.refresh_token)) == [200, 401]
