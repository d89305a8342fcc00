"""Revocation of mailed tokens, also while the mail is being created."""

import pytest

from accounts import jobs
from accounts.models import Mail, PasswordToken

pytestmark = pytest.mark.django_db

KINDS = [Mail.Kind.PASSWORD_RESET, Mail.Kind.INVITATION]


def confirm(client, token):
    return client.post("/user/password-reset/confirm/", {"token": token, "new_password": "nine orange lanterns"})


@pytest.mark.parametrize("kind", KINDS)
def test_deactivation_revokes_mailed_tokens_for_good(client, client_of, ada, alice, kind):
    token = PasswordToken.objects.issue(alice, kind)
    admin, path = client_of(ada), f"/user/users/{alice.pk}/"

    for is_active in (False, True):
        assert admin.patch(path, {"is_active": is_active}).status_code == 200

    answer = confirm(client, token)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "token_invalid")
    assert not PasswordToken.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [{"email": "elsewhere@example.com"}, {"is_active": False}], ids=str)
def test_a_token_created_during_a_change_is_revoked(client_of, ada, alice, at_once, change):
    admin = client_of(ada)
    for _ in range(5):
        Mail.objects.all().delete()
        Mail.objects.plan(Mail.Kind.PASSWORD_RESET, "alice@example.com")

        at_once(lambda: admin.patch(f"/user/users/{alice.pk}/", change), jobs.deliver_mails, queued_at=alice)

        alice.refresh_from_db()
        assert {name: getattr(alice, name) for name in change} == change
        assert not PasswordToken.objects.exists()
        alice.change(email="alice@example.com", is_active=True)
