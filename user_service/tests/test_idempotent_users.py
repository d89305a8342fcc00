import json
import logging
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts import jobs
from accounts.models import Change, IdempotencyRecord, Mail, Session, User
from accounts.serializers import ACCOUNT_FIELDS

pytestmark = pytest.mark.django_db

URL = "/user/users/"
BARBARA = {"username": "Barbara", "email": "Barbara@Example.com"}
CHOSEN = "eight red balloons"
KEYED = {"Idempotency-Key": "k-1"}


@pytest.fixture
def admin(client_of, ada):
    return client_of(ada)


def make(client, body=BARBARA, *, url=URL, key="k-1"):
    return client.post(url, body, headers={"Idempotency-Key": key})


def created_usernames():
    return sorted(User.objects.exclude(role="admin").values_list("username", flat=True))


def seen(answer):
    return answer.status_code, answer.content, answer.headers["Content-Type"]


def test_a_repeated_request_gets_the_stored_response(admin):
    first = make(admin)

    user = User.objects.get(username="Barbara")
    assert first.status_code == 201
    assert first.json() == {
        "id": user.pk,
        "username": "Barbara",
        "email": "Barbara@Example.com",
        "role": "user",
        "is_active": True,
        "date_joined": user.date_joined.isoformat().replace("+00:00", "Z"),
        "invitation": "pending",
        "invited_at": user.invited_at.isoformat().replace("+00:00", "Z"),
    }
    assert [seen(make(admin)) for _ in range(5)] == [seen(first)] * 5
    assert created_usernames() == ["Barbara"]


def test_a_replay_adds_neither_mail_nor_feed_entry(admin):
    first = make(admin)
    change = Change.objects.get(user_id=first.json()["id"])

    make(admin)

    assert Mail.objects.get().kind == "invitation"
    assert Change.objects.get(user_id=first.json()["id"]) == change


def test_the_invitation_is_sent_once(admin, mailoutbox):
    make(admin)
    jobs.deliver_mails()
    Mail.objects.update(sent_at=timezone.now() - timedelta(minutes=2))
    make(admin)
    jobs.deliver_mails()

    assert [message.to for message in mailoutbox] == [["Barbara@Example.com"]]


def test_a_trailing_slash_does_not_change_the_key(admin):
    assert seen(make(admin, url="/user/users")) == seen(make(admin, url=URL))
    assert created_usernames() == ["Barbara"]


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
    make(admin)

    answer = make(client_of(grace), {"username": "Carla", "email": "carla@example.com"})

    assert answer.status_code == 201
    assert created_usernames() == ["Barbara", "Carla"]


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "schlüssel"], ids=ascii)
def test_a_malformed_key_creates_no_account(admin, key):
    answer = make(admin, key=key)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Idempotency-Key")
    assert created_usernames() == []


# Permissions


def test_a_demoted_admin_replays_nothing(admin, ada, grace, client_of):
    make(admin)
    assert client_of(grace).patch(f"{URL}{ada.pk}/", {"role": "user"}).status_code == 200

    answer = make(admin)

    assert answer.status_code == 403
    assert "Barbara" not in answer.content.decode()
    assert User.objects.filter(username="Barbara").count() == 1


def test_a_deactivated_admin_replays_nothing(admin, ada, grace, client_of):
    make(admin)
    client_of(grace).patch(f"{URL}{ada.pk}/", {"is_active": False})

    assert make(admin).status_code == 401


def test_a_user_with_an_admins_key_is_forbidden(client_of, alice):
    answer = make(client_of(alice))

    assert answer.status_code == 403
    assert not IdempotencyRecord.objects.exists()


def test_a_new_session_still_gets_the_stored_response(admin, ada, client_of):
    first = make(admin)
    Session.objects.all().delete()

    assert seen(make(client_of(ada))) == seen(first)


# Failures


def test_a_key_can_be_reused_after_an_invalid_body(admin):
    refused = make(admin, {**BARBARA, "email": "nowhere"})
    kept = IdempotencyRecord.objects.count()

    answer = make(admin)

    assert (refused.status_code, kept, answer.status_code) == (400, 0, 201)
    assert created_usernames() == ["Barbara"]


def test_a_key_can_be_reused_after_a_conflict(admin, person):
    someone = person("BARBARA")
    refused = make(admin)
    kept = IdempotencyRecord.objects.count()
    someone.remove()

    answer = make(admin)

    assert (refused.status_code, kept, answer.status_code) == (409, 0, 201)
    assert Mail.objects.count() == 1


def test_without_a_stored_response_no_account_is_created(admin, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(IdempotencyRecord, "save", fail)

    assert make(admin).status_code == 503
    assert created_usernames() == []
    assert (Mail.objects.count(), Change.objects.count(), IdempotencyRecord.objects.count()) == (0, 0, 0)


# Stored data


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
    make(admin, {"username": "Carla", "email": "carla@example.com"}, key="k-2")
    for key, age in [("k-1", timedelta(hours=24)), ("k-2", timedelta(hours=23, minutes=59))]:
        IdempotencyRecord.objects.filter(key=key).update(created_at=timezone.now() - age)

    jobs.clean()

    assert IdempotencyRecord.objects.get().key == "k-2"
    assert make(admin).status_code == 409  # now a new request, and the name is taken


# Routes that ignore a key


@pytest.mark.parametrize("key", ["k-1", "k" * 256])
def test_public_routes_ignore_a_key(client, alice, password, key):
    headers = {"Idempotency-Key": key}
    barbara = {**BARBARA, "password": CHOSEN}

    registered = [client.post("/user/register/", barbara, headers=headers).status_code for _ in range(2)]
    signed_in = [client.post("/token/", {"username": "Alice", "password": password}, headers=headers) for _ in range(2)]

    assert registered == [201, 409]
    assert signed_in[0].json()["refresh"] != signed_in[1].json()["refresh"]
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("method", ["put", "patch"])
def test_changes_ignore_a_key(admin, alice, method):
    whole = {"id": alice.pk, "email": "alice@example.com", "role": "user"}

    for name in ("Alicia", "Alison"):
        answer = getattr(admin, method)(URL, {**whole, "username": name}, headers=KEYED)
        assert (answer.status_code, answer.json()["username"]) == (200, name)

    assert not IdempotencyRecord.objects.exists()


# In parallel


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("password", [{}, {"password": CHOSEN}], ids=["invited", "with a password"])
def test_six_parallel_requests_create_one_account(admin, at_once, password):
    answers = at_once(*[lambda: make(admin, {**BARBARA, **password})] * 6)

    assert [seen(answer) for answer in answers] == [seen(answers[0])] * 6
    assert answers[0].status_code == 201
    assert created_usernames() == ["Barbara"]
    assert Mail.objects.count() == (0 if password else 1)


@pytest.mark.django_db(transaction=True)
def test_one_of_six_parallel_bodies_with_one_key_wins(admin, at_once):
    bodies = [{"username": f"Eve{number}", "email": f"eve{number}@example.com"} for number in range(6)]

    answers = at_once(*[lambda body=body: make(admin, body) for body in bodies])

    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 5
    assert len(created_usernames()) == Mail.objects.count() == 1
