import logging

import pytest
from django.core import mail as post
from django.db import OperationalError

from accounts import jobs
from accounts.models import Change, Mail, PasswordToken, User
from accounts.serializers import ACCOUNT_FIELDS

pytestmark = pytest.mark.django_db

URL = "/user/users/"
BARBARA = {"username": "Barbara", "email": "Barbara@Example.com"}
CHOSEN = "eight red balloons"


def sign_in(client, username, password):
    return client.post("/token/", {"username": username, "password": password})


def get_errors(answer):
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


@pytest.fixture
def admin(client_of, ada):
    return client_of(ada)


def test_an_admin_creates_an_account(admin):
    answer = admin.post(URL, {**BARBARA, "password": CHOSEN})

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


def test_with_a_password_the_user_can_sign_in_at_once(admin, client):
    admin.post(URL, {**BARBARA, "password": f" {CHOSEN} "})

    tried = [f" {CHOSEN} ", CHOSEN]
    assert [sign_in(client, "Barbara", each).status_code for each in tried] == [200, 401]


def test_without_a_password_an_invitation_is_planned(admin):
    answer = admin.post(URL, BARBARA)

    assert answer.status_code == 201
    assert answer.json().keys() == {*ACCOUNT_FIELDS, "invitation", "invited_at"}
    mail = Mail.objects.get()
    assert (mail.kind, mail.email_key, mail.state) == ("invitation", "barbara@example.com", "planned")
    assert post.outbox == []
    assert not PasswordToken.objects.exists()


def test_an_invited_user_chooses_a_password_and_signs_in(admin, client):
    admin.post(URL, BARBARA)
    jobs.deliver_mails()
    (message,) = post.outbox
    token = message.body.partition('"token": "')[2].partition('"')[0]

    answer = client.post("/user/password-reset/confirm/", {"token": token, "new_password": CHOSEN})

    assert (message.to, message.subject) == (["Barbara@Example.com"], "You have been given an account")
    assert answer.status_code == 204
    signed_in = sign_in(client, "Barbara", CHOSEN)
    assert signed_in.status_code == 200
    client.set_tokens(**signed_in.json())
    assert client.get("/user/me/").json()["username"] == "Barbara"


@pytest.mark.parametrize("tried", ["", "!", "None", "null", CHOSEN])
def test_a_pending_account_looks_like_a_wrong_password(admin, client, alice, hash_computations, tried):
    admin.post(URL, BARBARA)

    seen = set()
    for username in ("Alice", "Barbara", "barbara@example.com"):
        hash_computations.clear()
        answer = client.post(
            "/token/", {"username": username, "password": tried or "x"}, headers={"X-Request-ID": "the-same"}
        )
        headers = tuple(sorted(answer.headers.items()))
        seen.add((answer.status_code, answer.content, headers, len(hash_computations)))

    ((status, _, _, computations),) = seen
    assert (status, computations) == (401, 1)


def test_an_invited_account_has_no_usable_password(admin, client):
    admin.post(URL, BARBARA)
    stored = User.objects.get(username="Barbara").password

    assert stored.startswith("!")
    assert sign_in(client, "Barbara", stored).status_code == 401


def test_an_invited_user_can_also_request_a_reset(admin, client):
    admin.post(URL, BARBARA)
    client.post("/user/password-reset/", {"email": "barbara@example.com"})

    jobs.deliver_mails()

    assert [message.subject for message in post.outbox] == ["You have been given an account", "Choose a new password"]


def test_an_admin_creates_an_admin(admin, client_of):
    answer = admin.post(URL, {**BARBARA, "password": CHOSEN, "role": "admin"})

    assert (answer.status_code, answer.json()["role"]) == (201, "admin")
    assert client_of(User.objects.get(username="Barbara")).get(URL).status_code == 200


def test_a_new_account_appears_in_the_feed(admin):
    admin.post(URL, BARBARA)

    assert Change.objects.filter(user_id=User.objects.get(username="Barbara").pk).exists()


@pytest.mark.parametrize("body", [BARBARA, {**BARBARA, "role": "admin"}, {}, {"nonsense": 1}])
def test_a_user_creates_no_account(client_of, alice, body):
    answer = client_of(alice).post(URL, body)

    assert answer.status_code == 403
    assert User.objects.get() == alice
    assert not Mail.objects.exists()


def test_an_anonymous_caller_creates_no_account(client, db):
    answer = client.post(URL, BARBARA)

    assert answer.status_code == 401
    assert not User.objects.exists()
    assert not Mail.objects.exists()


def test_a_demoted_admin_creates_no_account(admin, client_of, ada, grace):
    client_of(grace).patch(f"{URL}{ada.pk}/", {"role": "user"})

    assert admin.post(URL, BARBARA).status_code in (401, 403)
    assert not User.objects.filter(username="Barbara").exists()


@pytest.mark.parametrize("password", [{}, {"password": CHOSEN}], ids=["invited", "with a password"])
@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("username", {"username": "ALICE"}),
        ("username", {"username": " alice "}),
        ("email", {"email": "alice@EXAMPLE.com"}),
    ],
)
def test_a_conflict_invites_nobody(admin, alice, password, field, values):
    answer = admin.post(URL, {**BARBARA, **password, **values})

    assert answer.status_code == 409
    assert get_errors(answer) == [(field, "taken")]
    assert User.objects.count() == 2
    assert not Mail.objects.exists()


def test_a_retry_does_not_invite_twice(admin):
    statuses = [admin.post(URL, BARBARA).status_code for _ in range(2)]

    assert statuses == [201, 409]
    assert Mail.objects.count() == 1


def test_without_an_invitation_no_account_is_created(admin, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(type(Mail.objects.all()), "create", fail)
    monkeypatch.setattr(type(Mail.objects), "plan", fail)

    answer = admin.post(URL, BARBARA)

    assert answer.status_code == 503
    assert not User.objects.filter(username="Barbara").exists()
    assert not Change.objects.filter(user_id__gt=User.objects.get().pk).exists()


@pytest.mark.parametrize("username", ["root", "Support", "ADMIN", "system"])
def test_an_admin_can_assign_a_reserved_name(admin, client, username):
    refused = client.post("/user/register/", {**BARBARA, "username": username, "password": CHOSEN})
    given = admin.post(URL, {**BARBARA, "username": username})

    assert (refused.status_code, given.status_code) == (400, 201)
    assert given.json()["username"] == username


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_active", False),
        ("is_staff", True),
        ("is_superuser", True),
        ("id", 1),
        ("epoch", 7),
        ("username_key", "somebody"),
        ("email_key", "somebody"),
        ("date_joined", "2020-01-01T00:00:00Z"),
        ("kind", "password_reset"),
    ],
)
def test_an_unknown_field_is_refused(admin, ada, name, value):
    answer = admin.post(URL, {**BARBARA, name: value})

    assert (answer.status_code, get_errors(answer)) == (400, [(name, "unknown_field")])
    assert User.objects.get() == ada
    assert not Mail.objects.exists()


@pytest.mark.parametrize("name", ["username", "email"])
def test_username_and_email_are_required(admin, name):
    answer = admin.post(URL, {key: value for key, value in BARBARA.items() if key != name})

    assert (answer.status_code, get_errors(answer)) == (400, [(name, "required")])


@pytest.mark.parametrize("role", ["superuser", "", None, 1, ["admin"]])
def test_an_unknown_role_is_refused(admin, role):
    answer = admin.post(URL, {**BARBARA, "role": role})

    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == {"role"}


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("bicycle", "too short"),
        ("sunshine1", "too common"),
        ("barbara77", "too similar to the username"),
        ("84027591630217", "entirely numeric"),
        ("7" + "x" * 1024, "at most 1024 bytes"),
        ("", "blank"),
        (None, "null"),
        (8402759163, "a string"),
    ],
    ids=repr,
)
def test_a_weak_password_is_refused(admin, ada, password, reason):
    answer = admin.post(URL, {**BARBARA, "password": password})

    assert (answer.status_code, {error["field"] for error in answer.json()["errors"]}) == (400, {"password"})
    assert any(reason in error["detail"] for error in answer.json()["errors"])
    assert User.objects.get() == ada
    assert not Mail.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("username", "Barbara\r\nBcc: eve@example.com"),
        ("username", "Barbara <eve@example.com>"),
        ("email", "barbara@example.com\r\nBcc: eve@example.com"),
        ("email", "barbara@example.com\u2028Bcc: eve@example.com"),
        ("email", "barbara@example.com,eve@example.com"),
        ("email", "alice@\uff45xample.com"),  # full-width e
        ("email", "Barbara <barbara@example.com>"),
    ],
)
def test_header_injection_is_refused(admin, alice, name, value):
    created = admin.post(URL, {**BARBARA, name: value})
    changed = admin.patch(f"{URL}{alice.pk}/", {name: value})

    assert (created.status_code, changed.status_code) == (400, 400)
    assert {error["field"] for error in created.json()["errors"]} == {name}
    assert not Mail.objects.exists()


def test_the_password_reaches_neither_log_nor_response(admin, caplog):
    caplog.set_level(logging.DEBUG)

    answer = admin.post(URL, {**BARBARA, "password": CHOSEN})

    assert CHOSEN not in caplog.text
    assert CHOSEN not in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_eight_parallel_requests_create_one_account(admin, at_once):
    statuses = at_once(*[lambda: admin.post(URL, BARBARA).status_code] * 8)

    assert sorted(statuses) == [201] + [409] * 7
    assert Mail.objects.count() == 1
