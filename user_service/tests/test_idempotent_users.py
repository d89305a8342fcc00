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


def made():
    return sorted(User.objects.exclude(role="admin").values_list("username", flat=True))


def seen(answer):
    return answer.status_code, answer.content, answer.headers["Content-Type"]


def test_it_works(admin):
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
    assert made() == ["Barbara"]


def test_the_invitation_is_planned_once_and_the_other_service_told_once(admin):
    first = make(admin)
    change = Change.objects.get(user_id=first.json()["id"])

    make(admin)

    assert Mail.objects.get().kind == "invitation"
    assert Change.objects.get(user_id=first.json()["id"]) == change


def test_the_invitation_goes_out_once(admin, mailoutbox):
    make(admin)
    jobs.deliver_mails()
    Mail.objects.update(sent_at=timezone.now() - timedelta(minutes=2))
    make(admin)
    jobs.deliver_mails()

    assert [letter.to for letter in mailoutbox] == [["Barbara@Example.com"]]


def test_the_slash_at_the_end_makes_no_other_key(admin):
    assert seen(make(admin, url="/user/users")) == seen(make(admin, url=URL))
    assert made() == ["Barbara"]


@pytest.mark.parametrize(
    "other", [{"username": "Barbra"}, {"role": "admin"}, {"password": CHOSEN}, {"nonsense": 1}], ids=repr
)
def test_another_body_under_the_same_key_is_refused_and_changes_nothing(admin, ada, other):
    first = make(admin)

    answer = make(admin, {**BARBARA, **other})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert list(User.objects.exclude(pk=ada.pk).values_list("username", "role")) == [("Barbara", "user")]
    assert Mail.objects.count() == 1
    assert seen(make(admin)) == seen(first)


def test_another_password_is_another_body(admin, client):
    make(admin, {**BARBARA, "password": CHOSEN})

    answer = make(admin, {**BARBARA, "password": "nine orange lanterns"})

    assert answer.status_code == 422
    assert client.post("/token/", {"username": "Barbara", "password": CHOSEN}).status_code == 200


def test_each_admin_has_keys_of_their_own(admin, client_of, grace):
    make(admin)

    answer = make(client_of(grace), {"username": "Carla", "email": "carla@example.com"})

    assert answer.status_code == 201
    assert made() == ["Barbara", "Carla"]


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "schlüssel"], ids=ascii)
def test_a_malformed_key_makes_nobody(admin, key):
    answer = make(admin, key=key)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Idempotency-Key")
    assert made() == []


# Who may


def test_who_is_no_admin_any_more_replays_nothing(admin, ada, grace, client_of):
    make(admin)
    assert client_of(grace).patch(f"{URL}{ada.pk}/", {"role": "user"}).status_code == 200

    answer = make(admin)

    assert answer.status_code == 403
    assert "Barbara" not in answer.content.decode()
    assert User.objects.filter(username="Barbara").count() == 1


def test_who_was_deactivated_replays_nothing(admin, ada, grace, client_of):
    make(admin)
    client_of(grace).patch(f"{URL}{ada.pk}/", {"is_active": False})

    assert make(admin).status_code == 401


def test_a_user_with_an_admins_key_is_forbidden_and_no_key_is_kept(client_of, alice):
    answer = make(client_of(alice))

    assert answer.status_code == 403
    assert not IdempotencyRecord.objects.exists()


def test_an_admin_who_signs_in_again_still_gets_the_first_answer(admin, ada, client_of):
    first = make(admin)
    Session.objects.all().delete()

    assert seen(make(client_of(ada))) == seen(first)


# What fails


def test_after_a_bad_body_the_same_key_works(admin):
    refused = make(admin, {**BARBARA, "email": "nowhere"})
    kept = IdempotencyRecord.objects.count()

    answer = make(admin)

    assert (refused.status_code, kept, answer.status_code) == (400, 0, 201)
    assert made() == ["Barbara"]


def test_after_a_conflict_the_same_key_works(admin, person):
    someone = person("BARBARA")
    refused = make(admin)
    kept = IdempotencyRecord.objects.count()
    someone.remove()

    answer = make(admin)

    assert (refused.status_code, kept, answer.status_code) == (409, 0, 201)
    assert Mail.objects.count() == 1


def test_when_the_answer_cannot_be_kept_no_account_is_made_and_nobody_invited(admin, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(IdempotencyRecord, "save", fail)

    assert make(admin).status_code == 503
    assert made() == []
    assert (Mail.objects.count(), Change.objects.count(), IdempotencyRecord.objects.count()) == (0, 0, 0)


# What is kept


def test_the_password_is_kept_nowhere(admin, caplog):
    caplog.set_level(logging.DEBUG)

    make(admin, {**BARBARA, "password": CHOSEN})

    row = IdempotencyRecord.objects.values().get()
    assert (row["status"], row["path"], row["key"]) == (201, URL, "k-1")
    assert json.loads(bytes(row["body"])).keys() == {*ACCOUNT_FIELDS, "invitation", "invited_at"}
    assert CHOSEN not in repr({**row, "body": bytes(row["body"])})
    assert CHOSEN not in caplog.text


def test_the_worker_forgets_answers_after_24_hours(admin):
    make(admin)
    make(admin, {"username": "Carla", "email": "carla@example.com"}, key="k-2")
    for key, age in [("k-1", timedelta(hours=24)), ("k-2", timedelta(hours=23, minutes=59))]:
        IdempotencyRecord.objects.filter(key=key).update(created_at=timezone.now() - age)

    jobs.clean()

    assert IdempotencyRecord.objects.get().key == "k-2"
    assert make(admin).status_code == 409  # it is a new request now, and the name is taken


# Where a key means nothing


@pytest.mark.parametrize("key", ["k-1", "k" * 256])
def test_on_routes_for_everyone_a_key_is_ignored(client, alice, password, key):
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


# Several at once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("password", [{}, {"password": CHOSEN}], ids=["invited", "with a password"])
def test_six_at_once_make_one_account_and_get_one_answer(admin, at_once, password):
    answers = at_once(*[lambda: make(admin, {**BARBARA, **password})] * 6)

    assert [seen(answer) for answer in answers] == [seen(answers[0])] * 6
    assert answers[0].status_code == 201
    assert made() == ["Barbara"]
    assert Mail.objects.count() == (0 if password else 1)


@pytest.mark.django_db(transaction=True)
def test_of_six_bodies_at_once_under_one_key_one_is_made(admin, at_once):
    bodies = [{"username": f"Eve{number}", "email": f"eve{number}@example.com"} for number in range(6)]

    answers = at_once(*[lambda body=body: make(admin, body) for body in bodies])

    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 5
    assert len(made()) == Mail.objects.count() == 1
