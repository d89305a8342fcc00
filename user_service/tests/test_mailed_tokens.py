"""Mailed tokens that set a password: when they are valid, and what revokes them."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from accounts import jobs
from accounts.models import Mail, PasswordToken, User
from tests.conftest import PASSWORD, confirm_reset, field_errors

pytestmark = pytest.mark.django_db

RESET, INVITATION = Mail.Kind.PASSWORD_RESET, Mail.Kind.INVITATION


def token_for(user, kind=RESET):
    return PasswordToken.objects.issue(user, kind)


def assert_refused(answer, code="token_invalid"):
    assert (answer.status_code, field_errors(answer)) == (400, [("token", code)])


@pytest.mark.parametrize("kind", [RESET, INVITATION])
def test_using_a_token_revokes_all_of_the_account(client, alice, kind):
    used, others = token_for(alice), [token_for(alice, kind), token_for(alice)]
    assert confirm_reset(client, used).status_code == 204  # an earlier one is valid until one is used

    for token in (used, *others):
        assert_refused(confirm_reset(client, token, "nine blue umbrellas"))
    alice.refresh_from_db()
    assert not alice.check_password("nine blue umbrellas")
    assert not PasswordToken.objects.exists()


@pytest.mark.parametrize(("kind", "lifetime"), [(RESET, timedelta(minutes=30)), (INVITATION, timedelta(days=7))])
def test_a_token_expires_after_its_lifetime(client, alice, kind, lifetime):
    token = token_for(alice, kind)

    PasswordToken.objects.update(expires_at=F("expires_at") - lifetime)
    assert_refused(confirm_reset(client, token))

    PasswordToken.objects.update(expires_at=F("expires_at") + timedelta(minutes=2))
    assert confirm_reset(client, token).status_code == 204


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda token: "", "blank"),
        (lambda token: token[:-1], "token_invalid"),
        (lambda token: token + "A", "token_invalid"),
        (lambda token: token.swapcase(), "token_invalid"),
        (lambda token: token.encode().hex(), "token_invalid"),
        (lambda token: PasswordToken.objects.get().token_hash, "token_invalid"),
        (lambda token: "x" * 101, "max_length"),
        (lambda token: "\u0661" * 43, "token_invalid"),
        (lambda token: "%", "token_invalid"),
        (lambda token: None, "null"),
        (lambda token: [token], "invalid"),
        (lambda token: {"token": token}, "invalid"),
        (lambda token: True, "invalid"),
    ],
)
def test_a_changed_token_is_refused(client, alice, change, code):
    answer = confirm_reset(client, change(token_for(alice)))

    alice.refresh_from_db()
    assert_refused(answer, code)
    assert alice.check_password(PASSWORD)


def test_other_kinds_of_token_set_no_password(client, client_of, alice):
    signed_in = client_of(alice)

    for token in (signed_in.access_token, signed_in.refresh_token, signed_in.access_token[:100]):
        assert confirm_reset(client, token).status_code == 400


def test_a_reset_token_opens_nothing_else(client, alice):
    token = token_for(alice)

    assert client.get("/user/me/", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert client.post("/token/refresh/", {"refresh": token}).status_code == 401
    assert client.post("/token/verify/", {"token": token}).status_code == 401


def test_unknown_used_and_expired_tokens_look_alike(client, alice, bob, ivan):
    used, expired, inactive = token_for(alice), token_for(bob), token_for(ivan)
    confirm_reset(client, used)
    PasswordToken.objects.filter(user=bob).update(expires_at=timezone.now())

    answers = [confirm_reset(client, token) for token in (used, expired, inactive, "unknown")]

    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert bodies == [bodies[0]] * 4
    assert_refused(answers[0])


# An admin corrects a mistyped address: the mail to the wrong one would be valid for seven days.
REVOCATIONS = {
    "another address": lambda admin, path: admin.patch(path, {"email": "elsewhere@example.com"}),
    "deactivation for a while": lambda admin, path: [admin.patch(path, {"is_active": each}) for each in (False, True)],
    "deletion": lambda admin, path: admin.delete(path),
}


@pytest.mark.parametrize("kind", [RESET, INVITATION])
@pytest.mark.parametrize("revoke", REVOCATIONS.values(), ids=REVOCATIONS)
def test_a_change_by_an_admin_revokes_tokens(client, client_of, ada, alice, kind, revoke):
    token = token_for(alice, kind)

    revoke(client_of(ada), f"/user/users/{alice.pk}/")

    assert_refused(confirm_reset(client, token))
    assert not PasswordToken.objects.exists()
    assert not any(user.check_password("nine orange lanterns") for user in User.objects.all())


def test_a_password_change_revokes_tokens(client, client_of, alice):
    token = token_for(alice)
    body = {"current_password": PASSWORD, "new_password": "nine blue umbrellas"}

    assert client_of(alice).post("/user/me/password/", body).status_code == 204

    assert_refused(confirm_reset(client, token))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [{"email": "elsewhere@example.com"}, {"is_active": False}], ids=str)
def test_a_token_created_during_a_change_is_revoked(client_of, ada, alice, at_once, change):
    admin = client_of(ada)
    for _ in range(5):
        Mail.objects.all().delete()
        Mail.objects.plan(RESET, "alice@example.com")

        at_once(lambda: admin.patch(f"/user/users/{alice.pk}/", change), jobs.deliver_mails, queued_at=alice)

        alice.refresh_from_db()
        assert {name: getattr(alice, name) for name in change} == change
        assert not PasswordToken.objects.exists()
        alice.change(email="alice@example.com", is_active=True)
