import logging

import pytest
from django.core import mail as post
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Mail, PasswordToken, User
from tests.conftest import confirm_reset, field_errors, login_status, send_mails, token_in

pytestmark = pytest.mark.django_db

URL = "/user/password-reset/"
ALICE = "alice@example.com"


def ask(client, email, **headers):
    return client.post(URL, {"email": email}, headers=headers)


def test_a_request_plans_a_mail(client, client_of, alice, password):
    signed_in, before = client_of(alice), User.objects.values().get()

    answer = ask(client, ALICE)

    mail = Mail.objects.get()
    assert (answer.status_code, answer.content) == (202, b"")
    assert (mail.kind, mail.email_key, mail.state) == ("password_reset", ALICE, "planned")
    assert (post.outbox, PasswordToken.objects.count()) == ([], 0)

    send_mails()
    assert User.objects.values().get() == before
    assert signed_in.get("/user/me/").status_code == 200
    assert login_status(client, "Alice", password) == 200


def test_a_reset_leads_to_a_sign_in_with_the_new_password(client, alice, password, caplog):
    caplog.set_level(logging.DEBUG)
    ask(client, ALICE)
    (message,) = send_mails()

    confirmed = confirm_reset(client, token_in(message), "eight red balloons")

    assert confirmed.status_code == 204
    assert [login_status(client, "Alice", tried) for tried in ("eight red balloons", password)] == [200, 401]
    assert token_in(message) not in caplog.text
    assert ALICE not in caplog.text


def test_the_response_does_not_reveal_a_known_address(client, alice, ivan, hash_computations):
    seen = set()
    for email in [ALICE, "ALICE@Example.COM", "nobody@example.com", "ivan@example.com"]:
        with CaptureQueriesContext(connection) as queries:
            answer = ask(client, email, **{"X-Request-ID": "the-same"})
        headers = tuple(sorted(answer.headers.items()))
        shapes = tuple(query["sql"].split("(")[0] for query in queries)
        seen.add((answer.status_code, answer.content, headers, shapes))

    ((status, _, headers, shapes),) = seen
    assert (status, shapes) == (202, ('INSERT INTO "accounts_mail" ',))
    assert "Retry-After" not in dict(headers)
    assert hash_computations == []
    assert Mail.objects.count() == 4


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, ("email", "required")),
        ({"email": ALICE, "username": "Alice"}, ("username", "unknown_field")),
        ({"email": ALICE, "url": "https://evil.example"}, ("url", "unknown_field")),
    ],
)
def test_an_invalid_body_is_refused(client, alice, body, error):
    answer = client.post(URL, body)

    assert (answer.status_code, field_errors(answer)) == (400, [error])
    assert not Mail.objects.exists()


def test_the_host_header_does_not_reach_the_mail(client, alice, settings):
    settings.ALLOWED_HOSTS = ["*"]
    ask(client, ALICE, Host="evil.example", **{"X-Forwarded-Host": "evil.example"})

    (message,) = send_mails()

    assert "evil.example" not in message.message().as_string()


@pytest.mark.parametrize("header", ["Bearer left.over.token", "Basic QTpC", "nonsense"])
def test_an_old_authorization_header_is_ignored(client, alice, header):
    body = {"token": PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET), "new_password": "eight red balloons"}

    assert ask(client, ALICE, Authorization=header).status_code == 202
    assert client.post(f"{URL}confirm/", body, headers={"Authorization": header}).status_code == 204


def test_an_admin_requests_a_reset_for_an_account(client_of, ada, alice):
    answer = client_of(ada).post(f"/user/users/{alice.pk}/password-reset/")

    assert (answer.status_code, answer.content, post.outbox) == (202, b"", [])
    (message,) = send_mails()
    assert (message.recipients(), message.subject) == ([ALICE], "Choose a new password")


@pytest.mark.parametrize("user_id", [2**62, 2**63, 0, "me", "\u0661"])
def test_an_unknown_id_is_404(client_of, ada, user_id):
    answer = client_of(ada).post(f"/user/users/{user_id}/password-reset/")

    assert answer.status_code == 404
    assert not Mail.objects.exists()
