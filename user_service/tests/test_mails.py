"""Mails about accounts: contents, recipients and repetitions."""

from datetime import timedelta

import pytest
from django.core import mail as post
from django.utils import timezone

from accounts import jobs
from accounts.models import Mail, PasswordToken, User
from chassis.worker.mailing import message_id
from tests.conftest import age_mails, confirm_reset, outcome, send_mails, token_in

pytestmark = pytest.mark.django_db

ALICE = "alice@example.com"
RESET, INVITATION = Mail.Kind.PASSWORD_RESET, Mail.Kind.INVITATION


def plan(address=ALICE, kind=RESET):
    if kind == INVITATION:  # they have no password yet
        User.objects.filter(email=address).update(password="!")
    return Mail.objects.plan(kind, address)


# Contents and recipients


def test_a_planned_mail_is_sent(alice, settings):
    settings.MAIL_DOMAIN = "tm.example"
    mail = plan()

    assert jobs.deliver_mails() == 1

    (message,) = post.outbox
    sent = message.message()
    assert outcome(mail) == ("sent", "")
    assert (message.to, message.cc, message.bcc) == ([ALICE], [], [])
    assert message.from_email == "TMService <noreply@tmservice.invalid>"
    assert sent["Message-ID"] == message_id(mail.pk, prefix="user-mail")
    assert sent["Message-ID"].endswith("@tm.example>")
    assert sent["Auto-Submitted"] == "auto-generated"
    assert (sent.get_content_type(), sent.is_multipart()) == ("text/plain", False)


@pytest.mark.parametrize(
    ("kind", "subject", "validity", "lifetime"),
    [
        (RESET, "Choose a new password", "for 30 minutes", timedelta(minutes=30)),
        (INVITATION, "You have been given an account", "for 7 days", timedelta(days=7)),
    ],
)
def test_each_recipient_gets_their_own_working_token(client, alice, bob, kind, subject, validity, lifetime):
    for user in (alice, bob):
        plan(user.email, kind)

    messages = send_mails()
    left = PasswordToken.objects.get(user=bob).expires_at - timezone.now()
    confirmed = confirm_reset(client, token_in(messages[1]), "eight red balloons")

    bob.refresh_from_db()
    assert [message.subject for message in messages] == [subject] * 2
    assert [message.body.partition(",")[0] for message in messages] == ["Hello Alice", "Hello Bob"]
    assert all(validity in message.body for message in messages)
    assert lifetime - timedelta(minutes=1) < left <= lifetime
    assert (confirmed.status_code, bob.check_password("eight red balloons")) == (204, True)


@pytest.mark.parametrize(
    ("public_url", "address"), [("https://tm.test", "https://tm.test"), ("", "http://localhost:8080")]
)
def test_without_a_page_url_the_mail_shows_the_api_call(alice, settings, public_url, address):
    settings.PUBLIC_URL, settings.PASSWORD_URL = public_url, ""
    plan()

    (message,) = send_mails()

    assert f"\nPOST {address}/user/password-reset/confirm/\n" in message.body
    assert f'\n{{"token": "{token_in(message)}", "new_password": "..."}}\n' in message.body


def test_with_a_page_url_the_mail_links_to_it(client, alice, settings):
    settings.PASSWORD_URL = "https://tm.test/password#token=TOKEN&from=mail"
    plan()

    (message,) = send_mails()

    token = message.body.partition("https://tm.test/password#token=")[2].partition("&from=mail\n")[0]
    assert "TOKEN" not in message.body
    assert "/user/password-reset/confirm/" not in message.body
    assert confirm_reset(client, token).status_code == 204


def test_the_mail_goes_to_the_address_of_the_account(person, client):
    person("Alice", email="Alice@Example.com")
    client.post("/user/password-reset/", {"email": "aLICE@eXAMPLE.COM"})

    assert [message.recipients() for message in send_mails()] == [["Alice@Example.com"]]


# Skipped mails


@pytest.mark.parametrize("kind", [RESET, INVITATION])
@pytest.mark.parametrize("address", ["nobody@example.com", "ivan@example.com"])
def test_unknown_and_inactive_accounts_get_no_mail(alice, ivan, kind, address):
    mail = plan(address, kind)

    assert send_mails() == []
    assert outcome(mail) == ("skipped", "no active account has this address")
    assert not PasswordToken.objects.exists()


@pytest.mark.parametrize("change", [None, {"is_active": False}, {"email": "elsewhere@example.com"}])
def test_a_reset_is_skipped_if_the_account_has_changed(client, client_of, ada, alice, change):
    client.post("/user/password-reset/", {"email": ALICE})
    admin, path = client_of(ada), f"/user/users/{alice.pk}/"
    admin.patch(path, change) if change else admin.delete(path)

    messages = send_mails()

    assert outcome(Mail.objects.get(kind=RESET)) == ("skipped", "no active account has this address")
    assert not any("token" in message.body for message in messages)


@pytest.mark.parametrize(
    ("address", "kind", "seconds", "state"),
    [
        (ALICE, RESET, 0, "skipped"),
        (ALICE, RESET, 50, "skipped"),
        (ALICE, RESET, 61, "sent"),
        (ALICE, INVITATION, 0, "sent"),
        ("bob@example.com", RESET, 0, "sent"),
    ],
)
def test_the_same_mail_is_sent_once_a_minute(alice, bob, address, kind, seconds, state):
    plan()
    send_mails()
    age_mails(seconds=seconds)
    mail = plan(address, kind)

    sent = send_mails()

    assert outcome(mail)[0] == state
    assert len(sent) == PasswordToken.objects.count() - 1 == (state == "sent")


def test_an_old_reset_request_is_skipped(alice):
    waiting = plan()
    age_mails(days=3)

    assert send_mails() == []
    assert outcome(waiting) == ("skipped", "the request is too old")


def test_mails_wait_until_a_mail_server_is_configured(settings, client, alice):
    waiting = plan(kind=INVITATION)
    settings.MAILS_ARE_HELD = True

    held = jobs.deliver_mails()
    ready = client.get("/user/health/ready/").json()
    age_mails(days=3)
    settings.MAILS_ARE_HELD = False
    jobs.deliver_mails()

    assert held == 0
    assert ready == {"status": "degraded", "reasons": ["held: mails wait in the database until EMAIL_URL is set"]}
    assert outcome(waiting) == ("sent", "")


# Crashes and workers


def test_a_mail_of_a_dead_worker_is_sent_again(client, alice):
    mail = plan()
    jobs.send_account_mail(*Mail.objects.claim(1, lease_seconds=60))  # and here the worker dies

    assert jobs.deliver_mails() == 0
    age_mails(seconds=61)
    assert jobs.deliver_mails() == 1

    assert outcome(mail) == ("sent", "")
    assert [each.message()["Message-ID"] for each in post.outbox] == [message_id(mail.pk, prefix="user-mail")] * 2
    first, second = map(token_in, post.outbox)
    assert first != second
    assert confirm_reset(client, first).status_code == 204


def test_a_call_sends_one_batch(person):
    for number in range(12):
        plan(person(f"Eve{number}").email)

    assert [jobs.deliver_mails() for _ in range(3)] == [10, 2, 0]
    assert len(post.outbox) == 12


@pytest.mark.django_db(transaction=True)
def test_four_workers_send_each_mail_once(person, at_once):
    addresses = sorted(person(f"Eve{number}").email for number in range(24))
    for address in addresses:
        plan(address)

    def work():
        while jobs.deliver_mails():
            pass

    at_once(*[work] * 4)

    assert sorted(message.to[0] for message in post.outbox) == addresses
    assert set(Mail.objects.values_list("state", "attempts")) == {("sent", 1)}
