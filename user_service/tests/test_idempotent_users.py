"""Creating accounts with an Idempotency-Key. chassis tests the key itself."""

import json
import logging

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts import jobs
from accounts.models import Change, IdempotencyRecord, Mail, User
from accounts.serializers import ACCOUNT_FIELDS
from chassis.api import idempotency
from tests.conftest import account_json, statuses, time_json

pytestmark = pytest.mark.django_db

URL = "/user/users/"
BARBARA = {"username": "Barbara", "email": "Barbara@Example.com"}
CARLA = {"username": "Carla", "email": "carla@example.com"}
CHOSEN = "eight red balloons"


def make(client, body=BARBARA, *, key="k-1"):
    return client.post(URL, body, headers={"Idempotency-Key": key})


def created_usernames():
    return sorted(User.objects.exclude(role="admin").values_list("username", flat=True))


def seen(answer):
    return answer.status_code, answer.content, answer.headers["Content-Type"]


def test_a_repeated_request_gets_the_stored_response(admin):
    first = make(admin)
    user = User.objects.get(username="Barbara")
    change = Change.objects.get(user_id=user.pk)

    repeated = [make(admin) for _ in range(2)]

    assert first.status_code == 201
    assert first.json() == account_json(user, invitation="pending", invited_at=time_json(user.invited_at))
    assert [seen(answer) for answer in repeated] == [seen(first)] * 2
    assert created_usernames() == ["Barbara"]
    assert Mail.objects.get().kind == "invitation"
    assert Change.objects.get(user_id=user.pk) == change


@pytest.mark.parametrize(
    "other", [{"username": "Barbra"}, {"role": "admin"}, {"password": CHOSEN}, {"nonsense": 1}], ids=repr
)
def test_the_same_key_with_another_body_is_refused(admin, ada, other):
    first = make(admin)

    answer = make(admin, {**BARBARA, **other})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert list(User.objects.exclude(pk=ada.pk).values_list("username", "role")) == [("Barbara", "user")]
    assert Mail.objects.count() == 1
    assert seen(make(admin)) == seen(first)


def test_a_different_password_is_a_different_body(admin, client):
    make(admin, {**BARBARA, "password": CHOSEN})

    answer = make(admin, {**BARBARA, "password": "nine orange lanterns"})

    assert answer.status_code == 422
    assert client.post("/token/", {"username": "Barbara", "password": CHOSEN}).status_code == 200


def test_each_admin_has_their_own_keys(admin, client_of, grace):
    answers = [make(admin), make(client_of(grace), CARLA)]

    assert statuses(answers) == [201, 201]
    assert created_usernames() == ["Barbara", "Carla"]


@pytest.mark.parametrize(("change", "status"), [({"role": "user"}, 403), ({"is_active": False}, 401)])
def test_a_former_admin_replays_nothing(admin, ada, grace, change, status):
    make(admin)
    ada.change(**change, by=grace)

    answer = make(admin)

    assert answer.status_code == status
    assert "Barbara" not in answer.content.decode()


def test_a_user_with_an_admins_key_is_forbidden(client_of, alice):
    assert make(client_of(alice)).status_code == 403
    assert not IdempotencyRecord.objects.exists()


def test_a_new_session_still_gets_the_stored_response(admin, ada, client_of):
    first = make(admin)
    ada.sessions.all().delete()

    assert seen(make(client_of(ada))) == seen(first)


def test_a_key_can_be_reused_after_a_refusal(admin, person):
    someone = person("BARBARA")
    refused = [make(admin), make(admin, {**BARBARA, "email": "nowhere"})]
    someone.remove()

    assert statuses([*refused, make(admin)]) == [409, 400, 201]
    assert Mail.objects.count() == 1


def test_without_a_stored_response_no_account_is_created(admin, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(IdempotencyRecord, "save", fail)

    assert make(admin).status_code == 503
    assert created_usernames() == []
    assert (Mail.objects.count(), Change.objects.count(), IdempotencyRecord.objects.count()) == (0, 0, 0)


def test_the_password_is_not_stored(admin, caplog):
    caplog.set_level(logging.DEBUG)

    make(admin, {**BARBARA, "password": CHOSEN})

    row = IdempotencyRecord.objects.values().get()
    assert (row["status"], row["path"], row["key"]) == (201, URL, "k-1")
    assert json.loads(bytes(row["body"])).keys() == {*ACCOUNT_FIELDS, "invitation", "invited_at"}
    assert CHOSEN not in repr({**row, "body": bytes(row["body"])})
    assert CHOSEN not in caplog.text


def test_records_are_deleted_after_24_hours(admin):
    make(admin)
    make(admin, CARLA, key="k-2")
    IdempotencyRecord.objects.filter(key="k-1").update(created_at=timezone.now() - idempotency.RETENTION)

    jobs.clean()

    assert IdempotencyRecord.objects.get().key == "k-2"
    assert make(admin).status_code == 409  # now a new request, and the name is taken


def test_public_routes_ignore_a_key(client, alice, password):
    headers = {"Idempotency-Key": "k-1"}
    barbara = {**BARBARA, "password": CHOSEN}

    registered = [client.post("/user/register/", barbara, headers=headers) for _ in range(2)]
    signed_in = [client.post("/token/", {"username": "Alice", "password": password}, headers=headers) for _ in range(2)]

    assert statuses(registered) == [201, 409]
    assert signed_in[0].json()["refresh"] != signed_in[1].json()["refresh"]
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("method", ["put", "patch"])
def test_changes_ignore_a_key(admin, alice, method):
    whole = {"id": alice.pk, "email": "alice@example.com", "role": "user"}

    for name in ("Alicia", "Alison"):
        answer = getattr(admin, method)(URL, {**whole, "username": name}, headers={"Idempotency-Key": "k-1"})
        assert (answer.status_code, answer.json()["username"]) == (200, name)

    assert not IdempotencyRecord.objects.exists()


@pytest.fixture
def long_wait(monkeypatch):
    """Let a duplicate wait for the first request, however slow the machine is."""
    monkeypatch.setattr(idempotency, "MAX_WAIT_SECONDS", 60)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("password", [{}, {"password": CHOSEN}], ids=["invited", "with a password"])
def test_six_parallel_requests_create_one_account(admin, at_once, long_wait, password):
    answers = at_once(*[lambda: make(admin, {**BARBARA, **password})] * 6)

    assert [seen(answer) for answer in answers] == [seen(answers[0])] * 6
    assert answers[0].status_code == 201
    assert created_usernames() == ["Barbara"]
    assert Mail.objects.count() == (0 if password else 1)


@pytest.mark.django_db(transaction=True)
def test_one_of_six_parallel_bodies_with_one_key_wins(admin, at_once, long_wait):
    bodies = [{"username": f"Eve{number}", "email": f"eve{number}@example.com"} for number in range(6)]

    answers = at_once(*[lambda body=body: make(admin, body) for body in bodies])

    assert sorted(statuses(answers)) == [201] + [422] * 5
    assert len(created_usernames()) == Mail.objects.count() == 1
