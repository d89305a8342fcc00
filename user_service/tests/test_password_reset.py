import logging
from datetime import timedelta

import pytest
from django.core import mail as post
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import jobs
from accounts.models import Mail, PasswordToken, User

pytestmark = pytest.mark.django_db

URL = "/user/password-reset/"


def ask(client, email, **headers):
    return client.post(URL, {"email": email}, headers=headers)


def reset_url(user_id):
    return f"/user/users/{user_id}/password-reset/"


def test_a_request_plans_a_mail(client, alice):
    answer = ask(client, "alice@example.com")

    assert (answer.status_code, answer.content) == (202, b"")
    mail = Mail.objects.get()
    assert (mail.kind, mail.email_key, mail.state) == ("password_reset", "alice@example.com", "planned")


def test_a_reset_leads_to_a_sign_in_with_the_new_password(client, alice, password):
    ask(client, "alice@example.com")
    jobs.deliver_mails()
    (message,) = post.outbox
    token = message.body.partition('"token": "')[2].partition('"')[0]

    confirmed = client.post(f"{URL}confirm/", {"token": token, "new_password": "eight red balloons"})

    assert confirmed.status_code == 204
    statuses = [
        client.post("/token/", {"username": "Alice", "password": tried}).status_code
        for tried in ("eight red balloons", password)
    ]
    assert statuses == [200, 401]


def test_the_response_does_not_reveal_a_known_address(client, alice, ivan, hash_computations):
    seen = set()
    for email in ["alice@example.com", "ALICE@Example.COM", "nobody@example.com", "ivan@example.com"]:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = ask(client, email, **{"X-Request-ID": "the-same"})
        headers = tuple(sorted(answer.headers.items()))
        shapes = tuple(query["sql"].split("(")[0] for query in queries)
        seen.add((answer.status_code, answer.content, headers, shapes))

    ((status, _, headers, shapes),) = seen
    assert (status, shapes) == (202, ('INSERT INTO "accounts_mail" ',))
    assert "Retry-After" not in dict(headers)
    assert hash_computations == []
    assert Mail.objects.count() == 4


def test_repeated_requests_do_not_reveal_a_known_address(client, alice):
    ask(client, "alice@example.com")
    ask(client, "nobody@example.com")
    jobs.deliver_mails()

    known, unknown = ask(client, "alice@example.com"), ask(client, "nobody@example.com")

    assert (known.status_code, known.content) == (unknown.status_code, unknown.content) == (202, b"")


def test_the_request_sends_no_mail_and_creates_no_token(client, alice):
    ask(client, "alice@example.com")

    assert post.outbox == []
    assert not PasswordToken.objects.exists()


def test_the_account_is_unchanged_until_the_token_is_used(client, client_of, alice, password):
    signed_in = client_of(alice)
    before = User.objects.values().get()

    ask(client, "alice@example.com")
    jobs.deliver_mails()

    assert User.objects.values().get() == before
    assert signed_in.get("/user/me/").status_code == 200
    assert client.post("/token/", {"username": "Alice", "password": password}).status_code == 200


@pytest.mark.parametrize(
    "email",
    [
        "",
        "   ",
        "alice",
        "alice@",
        "@example.com",
        "alice@example.com, bob@example.com",
        "alice@example.com\r\nBcc: eve@example.com",
        "Alice <alice@example.com>",
        "a" * 250 + "@example.com",
        "alice\u202e@example.com",
        "alice@\uff45xample.com",  # full-width e
        "alice@\u24d4xample.com",  # circled e
        None,
        7,
        True,
        ["alice@example.com"],
        {"$ne": ""},
    ],
    ids=repr,
)
def test_an_invalid_address_is_refused(client, alice, email):
    answer = ask(client, email)

    assert (answer.status_code, {error["field"] for error in answer.json()["errors"]}) == (400, {"email"})
    assert not Mail.objects.exists()


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "email", "required"),
        ({"email": "alice@example.com", "username": "Alice"}, "username", "unknown_field"),
        ({"email": "alice@example.com", "kind": "invitation"}, "kind", "unknown_field"),
        ({"email": "alice@example.com", "url": "https://evil.example"}, "url", "unknown_field"),
    ],
)
def test_an_invalid_body_is_refused(client, alice, body, field, code):
    answer = client.post(URL, body)

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
    assert not Mail.objects.exists()


def test_the_host_header_does_not_reach_the_mail(client, alice, settings):
    settings.ALLOWED_HOSTS = ["*"]
    ask(client, "alice@example.com", Host="evil.example", **{"X-Forwarded-Host": "evil.example"})

    jobs.deliver_mails()

    (message,) = post.outbox
    assert "evil.example" not in message.message().as_string()


@pytest.mark.parametrize("header", ["Bearer left.over.token", "Basic QTpC", "nonsense"])
def test_an_old_authorization_header_is_ignored(client, alice, header):
    assert ask(client, "alice@example.com", Authorization=header).status_code == 202


def test_a_second_mail_within_a_minute_is_not_sent(client, alice):
    ask(client, "alice@example.com")
    jobs.deliver_mails()

    ask(client, "Alice@Example.com")
    jobs.deliver_mails()

    assert len(post.outbox) == 1
    assert Mail.objects.latest("id").state == "skipped"


def test_a_minute_later_another_is_sent(client, alice):
    ask(client, "alice@example.com")
    jobs.deliver_mails()
    Mail.objects.update(sent_at=timezone.now() - timedelta(seconds=61))

    ask(client, "alice@example.com")
    jobs.deliver_mails()

    assert [message.to for message in post.outbox] == [["alice@example.com"]] * 2


def test_token_and_address_do_not_reach_the_log(client, alice, caplog):
    caplog.set_level(logging.DEBUG)

    ask(client, "alice@example.com")
    jobs.deliver_mails()

    token = post.outbox[0].body.partition('"token": "')[2].partition('"')[0]
    assert len(token) == 43
    assert token not in caplog.text
    assert "alice@example.com" not in caplog.text


# By an admin


def test_an_admin_requests_a_reset_for_an_account(client_of, ada, alice):
    answer = client_of(ada).post(reset_url(alice.pk))

    assert (answer.status_code, answer.content) == (202, b"")
    assert post.outbox == []
    jobs.deliver_mails()
    (message,) = post.outbox
    assert (message.to, message.subject) == (["alice@example.com"], "Choose a new password")


def test_the_admin_does_not_see_the_token(client_of, ada, alice):
    answer = client_of(ada).post(reset_url(alice.pk))
    jobs.deliver_mails()

    assert answer.content == b""
    assert "ada@example.com" not in [address for message in post.outbox for address in message.recipients()]


def test_a_user_cannot_request_a_reset_for_an_account(client_of, alice, bob):
    signed_in = client_of(alice)

    statuses = [signed_in.post(reset_url(user_id)).status_code for user_id in (bob.pk, alice.pk, 2**62)]

    assert statuses == [403, 403, 403]
    assert not Mail.objects.exists()


def test_an_anonymous_caller_cannot_either(client, alice):
    answer = client.post(reset_url(alice.pk))

    assert answer.status_code == 401
    assert not Mail.objects.exists()


def test_a_demoted_admin_cannot_either(client_of, ada, grace, alice):
    signed_in = client_of(grace)
    client_of(ada).patch(f"/user/users/{grace.pk}/", {"role": "user"})

    assert signed_in.post(reset_url(alice.pk)).status_code in (401, 403)
    assert not Mail.objects.exists()


@pytest.mark.parametrize("user_id", [2**62, 2**63 - 1, 2**63, 0, "me", "\u0661"])
def test_an_unknown_id_is_404(client_of, ada, user_id):
    answer = client_of(ada).post(reset_url(user_id))

    assert answer.status_code == 404
    assert not Mail.objects.exists()
