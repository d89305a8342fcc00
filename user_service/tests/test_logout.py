from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import AccountGone, AuditEvent, Change, Session, User
from chassis.auth.tokens import issue_service_token
from chassis.testing.forge import read_claims
from tests.conftest import statuses

pytestmark = pytest.mark.django_db

URL, ALL, ME = "/token/logout/", "/token/logout-all/", "/user/me/"


@pytest.fixture
def log_out(client):
    return lambda token: client.post(URL, {"refresh": token})


def test_signing_out_ends_the_session(client_of, log_out, refresh, alice):
    client = client_of(alice)

    first, second = log_out(client.refresh_token), log_out(client.refresh_token)

    assert (first.status_code, first.content, second.status_code) == (204, b"", 204)
    assert statuses([client.get(ME), refresh(client.refresh_token)]) == [401, 401]
    assert not Session.objects.exists()


def test_other_sessions_stay_open(client_of, log_out, refresh, alice, bob):
    client, others = client_of(alice), [client_of(alice), client_of(bob)]

    log_out(client.refresh_token)

    assert statuses(other.get(ME) for other in others) == [200, 200]
    assert statuses(refresh(other.refresh_token) for other in others) == [200, 200]


@pytest.mark.parametrize("rotations", [1, 3])
def test_a_replaced_token_ends_its_session_too(client_of, log_out, refresh, alice, rotations):
    client = client_of(alice)
    newest = client.refresh_token
    for _ in range(rotations):
        newest = refresh(newest).json()["refresh"]

    answer = log_out(client.refresh_token)

    assert answer.status_code == 204
    assert statuses([refresh(newest), client.get(ME)]) == [401, 401]


def test_a_retry_does_not_reopen_the_session(client_of, log_out, refresh, alice):
    client = client_of(alice)

    log_out(refresh(client.refresh_token).json()["refresh"])

    assert refresh(client.refresh_token).status_code == 401


def test_signing_out_needs_no_access_token(client_of, alice):
    client = client_of(alice)
    client.set_tokens("left.over.token", refresh=client.refresh_token)

    assert client.post(URL, {"refresh": client.refresh_token}).status_code == 204


def test_an_invalid_refresh_token_ends_nothing(client_of, log_out, alice):
    client = client_of(alice)
    spoilt = [client.access_token, issue_service_token("task_service"), client.refresh_token[:-6], "nonsense", "\u00e9"]

    answers = [log_out(token) for token in spoilt]

    assert statuses(answers) == [401] * len(spoilt)
    assert {answer.json()["code"] for answer in answers} == {"token_invalid"}
    assert client.get(ME).status_code == 200


def test_signing_out_is_no_token_reuse(client_of, log_out, refresh, alice):
    client = client_of(alice)
    refresh(refresh(client.refresh_token).json()["refresh"])

    log_out(client.refresh_token)

    event = AuditEvent.objects.latest("id")
    assert (event.event, event.actor_id, event.subject_id) == ("session_expired", alice.pk, alice.pk)


def test_signing_out_everywhere_ends_only_your_own_sessions(client_of, refresh, alice, bob):
    clients, bobs = [client_of(alice) for _ in range(3)], client_of(bob)
    alice.sessions.update(rotated_at=F("rotated_at") - timedelta(days=6))  # idle sessions end too

    answer = clients[1].post(ALL)

    assert (answer.status_code, answer.content) == (204, b"")
    assert statuses(each.get(ME) for each in (*clients, bobs)) == [401] * 3 + [200]
    assert statuses(refresh(each.refresh_token) for each in (*clients, bobs)) == [401] * 3 + [200]


def test_the_user_can_sign_in_again_with_the_next_epoch(client_of, client, alice, bob, password):
    client_of(alice).post(ALL)

    client.set_tokens(**client.post("/token/", {"username": "Alice", "password": password}).json())

    bob.refresh_from_db()
    assert client.get(ME).status_code == 200
    assert (read_claims(client.access_token)["epoch"], bob.epoch) == (1, 0)


def test_signing_out_everywhere_needs_a_live_access_token(client_of, client, alice):
    expired, other = client_of(alice), client_of(alice)
    Session.objects.filter(pk=alice.sessions.earliest("pk").pk).update(expires_at=timezone.now())

    for token in (expired.access_token, other.refresh_token, issue_service_token("task_service")):
        client.set_tokens(token)
        assert client.post(ALL).status_code == 401
    assert other.get(ME).status_code == 200


def test_signing_out_a_deleted_account_is_404(alice):
    User.objects.filter(pk=alice.pk).delete()

    with pytest.raises(AccountGone):
        alice.sign_out_everywhere()

    assert not Change.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_racing_refresh_does_not_survive_sign_out(client_of, log_out, refresh, at_once, alice):
    for round_ in range(6):
        client = client_of(alice)

        out, *renewed = at_once(
            lambda client=client: log_out(client.refresh_token),
            *[lambda client=client: refresh(client.refresh_token)] * 4,
            queued_at=Session.objects.get() if round_ % 2 else None,
        )

        assert out.status_code == 204
        assert set(statuses(renewed)) <= {200, 401}
        assert not Session.objects.exists()
        assert client.get(ME).status_code == 401
