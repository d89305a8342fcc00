from datetime import timedelta

import jwt
import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import AccountGone, AuditEvent, Change, Session, User
from chassis.auth.tokens import issue_service_token

pytestmark = pytest.mark.django_db

URL = "/token/logout/"
ALL = "/token/logout-all/"


@pytest.fixture
def log_out(client):
    return lambda token: client.post(URL, {"refresh": token})


@pytest.fixture
def refresh(client):
    return lambda token: client.post("/token/refresh/", {"refresh": token})


def test_signing_out_ends_the_session(client_of, log_out, refresh, alice):
    client = client_of(alice)

    answer = log_out(client.refresh_token)

    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/user/me/").status_code == 401
    assert refresh(client.refresh_token).status_code == 401
    assert not Session.objects.exists()


def test_signing_out_twice_succeeds(client_of, log_out, alice):
    client = client_of(alice)

    assert [log_out(client.refresh_token).status_code for _ in range(2)] == [204, 204]


def test_other_sessions_stay_open(client_of, log_out, refresh, alice, bob):
    client, others = client_of(alice), [client_of(alice), client_of(bob)]

    log_out(client.refresh_token)

    assert [other.get("/user/me/").status_code for other in others] == [200, 200]
    assert [refresh(other.refresh_token).status_code for other in others] == [200, 200]


@pytest.mark.parametrize("rotations", [1, 3])
def test_a_replaced_token_ends_its_session_too(client_of, log_out, refresh, alice, rotations):
    client = client_of(alice)
    newest = client.refresh_token
    for _ in range(rotations):
        newest = refresh(newest).json()["refresh"]

    answer = log_out(client.refresh_token)

    assert answer.status_code == 204
    assert refresh(newest).status_code == 401
    assert client.get("/user/me/").status_code == 401


def test_a_retry_does_not_reopen_the_session(client_of, log_out, refresh, alice):
    client = client_of(alice)
    renewed = refresh(client.refresh_token).json()["refresh"]

    log_out(renewed)

    assert refresh(client.refresh_token).status_code == 401


def test_signing_out_needs_no_access_token(client_of, alice):
    client = client_of(alice)
    client.set_tokens("left.over.token", refresh=client.refresh_token)

    assert client.post(URL, {"refresh": client.refresh_token}).status_code == 204


def test_an_invalid_refresh_token_ends_nothing(client_of, log_out, alice):
    client = client_of(alice)
    spoilt = [client.access_token, issue_service_token("task_service"), client.refresh_token[:-6], "nonsense", "\u00e9"]

    answers = [log_out(token) for token in spoilt]

    assert [answer.status_code for answer in answers] == [401] * len(spoilt)
    assert {answer.json()["code"] for answer in answers} == {"token_invalid"}
    assert client.get("/user/me/").status_code == 200


def test_a_token_of_another_key_ends_nothing(client_of, log_out, alice, settings):
    client, key = client_of(alice), settings.JWT_SIGNING_KEY
    settings.JWT_SIGNING_KEY = "another-key-of-these-tests-9876543210"

    status = log_out(client.refresh_token).status_code

    settings.JWT_SIGNING_KEY = key
    assert (status, client.get("/user/me/").status_code) == (401, 200)


@pytest.mark.parametrize("body", [{}, {"refresh": ""}, {"refresh": None}, {"refresh": ["x"]}, {"refresh": {}}])
def test_a_body_without_a_token_is_refused(client, body):
    answer = client.post(URL, body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "refresh")


def test_an_unknown_field_is_refused_and_ends_nothing(client_of, alice):
    client = client_of(alice)

    answer = client.post(URL, {"refresh": client.refresh_token, "all": True})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "all")
    assert client.get("/user/me/").status_code == 200


def test_signing_out_is_no_token_reuse(client_of, log_out, refresh, alice):
    client = client_of(alice)
    refresh(refresh(client.refresh_token).json()["refresh"])

    log_out(client.refresh_token)

    event = AuditEvent.objects.latest("id")
    assert (event.event, event.actor_id, event.subject_id) == ("session_expired", alice.pk, alice.pk)


def test_signing_out_everywhere_ends_every_session(client_of, client, refresh, alice):
    clients = [client_of(alice) for _ in range(3)]

    answer = clients[1].post(ALL)

    assert (answer.status_code, answer.content) == (204, b"")
    assert [each.get("/user/me/").status_code for each in clients] == [401] * 3
    assert [refresh(each.refresh_token).status_code for each in clients] == [401] * 3
    assert not Session.objects.exists()


def test_signing_out_everywhere_increments_the_epoch(client_of, alice, bob):
    client_of(alice).post(ALL)

    alice.refresh_from_db()
    bob.refresh_from_db()
    assert (alice.epoch, bob.epoch) == (1, 0)


def test_sessions_of_others_stay_open(client_of, refresh, alice, bob, ada):
    others = [client_of(bob), client_of(ada)]

    client_of(alice).post(ALL)

    assert [other.get("/user/me/").status_code for other in others] == [200, 200]
    assert [refresh(other.refresh_token).status_code for other in others] == [200, 200]


def test_the_user_can_sign_in_again(client_of, client, alice, password):
    client_of(alice).post(ALL)

    client.set_tokens(**client.post("/token/", {"username": "Alice", "password": password}).json())

    assert client.get("/user/me/").status_code == 200
    assert jwt.decode(client.access_token, options={"verify_signature": False})["epoch"] == 1


def test_signing_out_everywhere_needs_an_access_token(client, client_of, alice):
    signed_in = client_of(alice)
    client.set_tokens(signed_in.refresh_token)

    assert client.post(ALL).status_code == 401
    client.set_tokens(issue_service_token("task_service"))
    assert client.post(ALL).status_code == 401
    assert signed_in.get("/user/me/").status_code == 200


def test_signing_out_everywhere_needs_a_valid_token(client_of, refresh, alice):
    expired, other = client_of(alice), client_of(alice)
    Session.objects.filter(pk=alice.sessions.earliest("pk").pk).update(expires_at=timezone.now())

    assert expired.post(ALL).status_code == 401
    assert other.get("/user/me/").status_code == 200


def test_idle_sessions_are_ended_too(client_of, refresh, alice):
    sleeping = client_of(alice)
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(days=6))

    client_of(alice).post(ALL)

    assert refresh(sleeping.refresh_token).status_code == 401


@pytest.mark.parametrize("path", [URL, ALL])
@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_another_method_is_405(client_of, alice, path, method):
    assert getattr(client_of(alice), method)(path).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_a_racing_refresh_does_not_survive_sign_out(client_of, log_out, refresh, at_once, alice):
    for round_ in range(10):
        client = client_of(alice)

        out, *renewed = at_once(
            lambda client=client: log_out(client.refresh_token),
            *[lambda client=client: refresh(client.refresh_token)] * 4,
            queued_at=Session.objects.get() if round_ % 2 else None,
        )

        assert out.status_code == 204
        assert {answer.status_code for answer in renewed} <= {200, 401}
        assert not Session.objects.exists()
        assert client.get("/user/me/").status_code == 401


def test_signing_out_a_deleted_account_is_404(alice):
    User.objects.filter(pk=alice.pk).delete()

    with pytest.raises(AccountGone):
        alice.sign_out_everywhere()

    assert not Change.objects.exists()
