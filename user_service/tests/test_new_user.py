import logging

import pytest
from django.core import mail as post
from django.db import OperationalError

from accounts.models import Change, Mail, PasswordToken, User
from accounts.serializers import ACCOUNT_FIELDS
from tests.conftest import login_status, send_mails

pytestmark = pytest.mark.django_db

URL = "/user/users/"
BARBARA = {"username": "Barbara", "email": "Barbara@Example.com"}
CHOSEN = "eight red balloons"


@pytest.fixture
def admin(client_of, ada):
    return client_of(ada)


def test_with_a_password_the_user_can_sign_in_at_once(admin, client, caplog):
    caplog.set_level(logging.DEBUG)

    answer = admin.post(URL, {**BARBARA, "password": f" {CHOSEN} "})

    user = User.objects.get(username="Barbara")
    assert answer.status_code == 201
    assert answer.json() == {
        "id": user.pk,
        "username": "Barbara",
        "email": "Barbara@Example.com",
        "role": "user",
        "is_active": True,
        "date_joined": user.date_joined.isoformat().replace("+00:00", "Z"),
        "invitation": None,
        "invited_at": None,
    }
    assert not Mail.objects.exists()
    assert [login_status(client, "Barbara", each) for each in (f" {CHOSEN} ", CHOSEN)] == [200, 401]
    assert CHOSEN not in caplog.text


def test_without_a_password_an_invitation_is_planned(admin, client):
    answer = admin.post(URL, BARBARA)

    user, mail = User.objects.get(username="Barbara"), Mail.objects.get()
    assert answer.status_code == 201
    assert answer.json().keys() == {*ACCOUNT_FIELDS, "invitation", "invited_at"}
    assert (mail.kind, mail.email_key, mail.state) == ("invitation", "barbara@example.com", "planned")
    assert (post.outbox, PasswordToken.objects.count()) == ([], 0)
    assert Change.objects.filter(user_id=user.pk).exists()
    assert user.password.startswith("!")
    assert login_status(client, "Barbara", user.password) == 401


@pytest.mark.parametrize("tried", ["x", "!", "None", "null", CHOSEN])
def test_a_pending_account_looks_like_a_wrong_password(admin, client, alice, hash_computations, tried):
    admin.post(URL, BARBARA)

    seen = set()
    for username in ("Alice", "Barbara", "barbara@example.com"):
        hash_computations.clear()
        answer = client.post("/token/", {"username": username, "password": tried}, headers={"X-Request-ID": "the-same"})
        headers = tuple(sorted(answer.headers.items()))
        seen.add((answer.status_code, answer.content, headers, len(hash_computations)))

    ((status, _, _, computations),) = seen
    assert (status, computations) == (401, 1)


def test_an_invited_user_can_also_request_a_reset(admin, client):
    admin.post(URL, BARBARA)
    client.post("/user/password-reset/", {"email": "barbara@example.com"})

    subjects = [message.subject for message in send_mails()]

    assert subjects == ["You have been given an account", "Choose a new password"]


def test_an_admin_creates_an_admin(admin, client_of):
    answer = admin.post(URL, {**BARBARA, "password": CHOSEN, "role": "admin"})

    assert (answer.status_code, answer.json()["role"]) == (201, "admin")
    assert client_of(User.objects.get(username="Barbara")).get(URL).status_code == 200


def test_without_an_invitation_no_account_is_created(admin, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(type(Mail.objects), "plan", fail)

    answer = admin.post(URL, BARBARA)

    assert answer.status_code == 503
    assert not User.objects.filter(username="Barbara").exists()
    assert not Change.objects.filter(user_id__gt=User.objects.get().pk).exists()


@pytest.mark.django_db(transaction=True)
def test_eight_parallel_requests_create_one_account(admin, at_once):
    statuses = at_once(*[lambda: admin.post(URL, BARBARA).status_code] * 8)

    assert sorted(statuses) == [201] + [409] * 7
    assert Mail.objects.count() == 1
