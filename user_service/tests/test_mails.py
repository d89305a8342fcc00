"""Delivery of mails, to Django's in-memory outbox and to an SMTP server that can misbehave."""

import gc
import logging
import socket
from contextlib import closing
from datetime import timedelta

import pytest
from django.core import mail as post
from django.db import connection
from django.db.models import F
from django.utils import timezone

from accounts import health, jobs
from accounts.models import Mail, PasswordToken, User
from chassis.testing.mail_addresses import ACCEPTED, REFUSED_UNTRIMMED
from chassis.testing.smtp_sink import END_OF_DATA, HANG, HANG_UP, serving
from chassis.worker.mailing import message_id

pytestmark = pytest.mark.django_db

RESET, INVITATION = Mail.Kind.PASSWORD_RESET, Mail.Kind.INVITATION
RECENT = "the same mail was sent a moment ago"


def plan(address, kind=RESET):
    if kind == INVITATION:  # they have no password yet
        User.objects.filter(email=address).update(password="!")
    return Mail.objects.plan(kind, address)


def pass_time(**duration):
    """Move all times of all mails back instead of waiting."""
    instants = ["planned_at", "due_at", "give_up_at", "leased_until", "sent_at"]
    Mail.objects.update(**{name: F(name) - timedelta(**duration) for name in instants})


def outcome(mail):
    mail.refresh_from_db()
    return mail.state, mail.reason


def token_in(body):
    token = body.partition('"token": "')[2].partition('"')[0]
    assert len(token) == 43
    return token


@pytest.fixture
def by_smtp(settings):
    def use(port):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", port, 5

    return use


@pytest.fixture
def sink(by_smtp):
    with serving() as server:
        by_smtp(server.port)
        yield server


@pytest.fixture
def closed_port(by_smtp):
    """A port without a listener that no other process can take."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        by_smtp(holder.getsockname()[1])
        yield holder


# Contents and recipients


def test_a_planned_mail_is_sent(alice):
    mail = plan("alice@example.com")

    assert jobs.deliver_mails() == 1

    (message,) = post.outbox
    assert outcome(mail) == ("sent", "")
    assert (message.to, message.cc, message.bcc) == (["alice@example.com"], [], [])
    assert message.from_email == "TMService <noreply@tmservice.invalid>"
    assert message.message()["Message-ID"] == message_id(mail.pk, prefix="user-mail")
    assert message.message()["Auto-Submitted"] == "auto-generated"
    assert message.message().get_content_type() == "text/plain"
    assert not message.message().is_multipart()


@pytest.mark.parametrize(
    ("kind", "subject", "said"),
    [
        (RESET, "Choose a new password", "for 30 minutes"),
        (INVITATION, "You have been given an account", "for 7 days"),
    ],
)
def test_each_kind_has_its_subject_and_validity(alice, bob, kind, subject, said):
    for user in (alice, bob):
        plan(user.email, kind)

    jobs.deliver_mails()

    assert [message.subject for message in post.outbox] == [subject, subject]
    assert [said in message.body for message in post.outbox] == [True, True]
    assert [message.body.partition(",")[0] for message in post.outbox] == ["Hello Alice", "Hello Bob"]


@pytest.mark.parametrize(("kind", "lifetime"), [(RESET, timedelta(minutes=30)), (INVITATION, timedelta(days=7))])
def test_the_token_in_a_mail_works(client, alice, kind, lifetime):
    plan("alice@example.com", kind)
    jobs.deliver_mails()

    left = PasswordToken.objects.get(user=alice).expires_at - timezone.now()
    body = {"token": token_in(post.outbox[0].body), "new_password": "eight red balloons"}
    assert client.post("/user/password-reset/confirm/", body).status_code == 204
    assert lifetime - timedelta(minutes=1) < left <= lifetime


@pytest.mark.parametrize(
    ("public_url", "address"), [("https://tm.test", "https://tm.test"), ("", "http://localhost:8080")]
)
def test_without_a_page_url_the_mail_shows_the_api_call(alice, settings, public_url, address):
    settings.PUBLIC_URL, settings.PASSWORD_URL = public_url, ""
    plan("alice@example.com")

    jobs.deliver_mails()

    body = post.outbox[0].body
    assert f"\nPOST {address}/user/password-reset/confirm/\n" in body
    assert f'\n{{"token": "{token_in(body)}", "new_password": "..."}}\n' in body


def test_with_a_page_url_the_mail_links_to_it(client, alice, settings):
    settings.PASSWORD_URL = "https://tm.test/password#token=TOKEN&from=mail"
    plan("alice@example.com")

    jobs.deliver_mails()

    body = post.outbox[0].body
    token = body.partition("https://tm.test/password#token=")[2].partition("&from=mail\n")[0]
    assert "TOKEN" not in body
    assert "/user/password-reset/confirm/" not in body
    confirmed = client.post("/user/password-reset/confirm/", {"token": token, "new_password": "eight red balloons"})
    assert confirmed.status_code == 204


def test_the_mail_goes_to_the_address_of_the_account(person, client):
    person("Alice", email="Alice@Example.com")
    client.post("/user/password-reset/", {"email": "aLICE@eXAMPLE.COM"})

    jobs.deliver_mails()

    assert [message.recipients() for message in post.outbox] == [["Alice@Example.com"]]


def test_each_recipient_gets_their_own_token(client, alice, bob):
    for user in (alice, bob):
        plan(user.email)

    jobs.deliver_mails()

    tokens = {message.to[0]: token_in(message.body) for message in post.outbox}
    client.post(
        "/user/password-reset/confirm/", {"token": tokens["bob@example.com"], "new_password": "eight red balloons"}
    )
    bob.refresh_from_db()
    assert tokens["alice@example.com"] != tokens["bob@example.com"]
    assert bob.check_password("eight red balloons")


# Skipped mails


@pytest.mark.parametrize("kind", [RESET, INVITATION])
@pytest.mark.parametrize("address", ["nobody@example.com", "ivan@example.com"])
def test_unknown_and_inactive_accounts_get_no_mail(alice, ivan, kind, address):
    mail = plan(address, kind)

    jobs.deliver_mails()

    assert outcome(mail) == ("skipped", "no active account has this address")
    assert post.outbox == []
    assert not PasswordToken.objects.exists()


@pytest.mark.parametrize(
    "undo",
    [
        lambda admin, url: admin.delete(url),
        lambda admin, url: admin.patch(url, {"is_active": False}),
        lambda admin, url: admin.patch(url, {"email": "elsewhere@example.com"}),
    ],
    ids=["deleted", "deactivated", "moved"],
)
def test_a_reset_is_skipped_if_the_account_has_changed(client, client_of, ada, alice, undo):
    client.post("/user/password-reset/", {"email": "alice@example.com"})
    undo(client_of(ada), f"/user/users/{alice.pk}/")

    jobs.deliver_mails()

    assert outcome(Mail.objects.get(kind=RESET)) == ("skipped", "no active account has this address")
    assert [message.subject for message in post.outbox if "token" in message.body] == []


def test_a_second_mail_within_a_minute_is_skipped(alice):
    first, second = plan("alice@example.com"), plan("alice@example.com")

    jobs.deliver_mails()

    assert [outcome(mail) for mail in (first, second)] == [("sent", ""), ("skipped", RECENT)]
    assert PasswordToken.objects.count() == len(post.outbox) == 1


def test_other_kinds_and_addresses_within_a_minute_are_sent(alice, bob):
    for address, kind in [(alice.email, RESET), (alice.email, INVITATION), (bob.email, RESET)]:
        plan(address, kind)

    jobs.deliver_mails()

    assert Mail.objects.filter(state="sent").count() == len(post.outbox) == 3


def test_after_a_minute_another_mail_is_sent(alice):
    plan("alice@example.com")
    jobs.deliver_mails()
    pass_time(seconds=59)
    early = plan("alice@example.com")
    jobs.deliver_mails()
    pass_time(seconds=2)
    late = plan("alice@example.com")
    jobs.deliver_mails()

    assert [outcome(mail)[0] for mail in (early, late)] == ["skipped", "sent"]


def test_an_unsent_mail_does_not_delay_others(alice, closed_port, settings):
    plan("alice@example.com")
    jobs.deliver_mails()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    second = plan("alice@example.com")

    jobs.deliver_mails()

    assert outcome(second) == ("sent", "")


# Crashes


def test_a_mail_of_a_dead_worker_is_resent_with_the_same_id(alice):
    mail = plan("alice@example.com")
    (claimed,) = Mail.objects.claim(1, lease_seconds=60)
    jobs.send_account_mail(claimed)  # and here the worker dies

    assert jobs.deliver_mails() == 0
    pass_time(seconds=61)
    assert jobs.deliver_mails() == 1

    assert [message.message()["Message-ID"] for message in post.outbox] == [message_id(mail.pk, prefix="user-mail")] * 2
    assert outcome(mail) == ("sent", "")


def test_both_mails_after_a_crash_have_valid_tokens(client, alice):
    plan("alice@example.com")
    jobs.send_account_mail(*Mail.objects.claim(1, lease_seconds=60))
    pass_time(seconds=61)
    jobs.deliver_mails()

    first, second = [token_in(message.body) for message in post.outbox]

    assert first != second
    body = {"token": first, "new_password": "eight red balloons"}
    assert client.post("/user/password-reset/confirm/", body).status_code == 204


def test_the_message_id_has_the_domain_of_the_sender(alice, settings):
    settings.MAIL_DOMAIN = "tm.example"
    mail = plan("alice@example.com")

    jobs.deliver_mails()

    sent = post.outbox[0].message()["Message-ID"]
    assert sent == message_id(mail.pk, prefix="user-mail")
    assert sent.endswith("@tm.example>")


# SMTP


def test_mails_are_sent_by_smtp(alice, sink):
    mail = plan("alice@example.com")

    jobs.deliver_mails()

    ((sender, recipients, message),) = sink.received
    assert outcome(mail) == ("sent", "")
    assert (sender, recipients) == ("noreply@tmservice.invalid", ["alice@example.com"])
    assert (message["To"], message["Subject"]) == ("alice@example.com", "Choose a new password")
    assert message["Message-ID"] == message_id(mail.pk, prefix="user-mail")
    assert token_in(message.get_content())
    assert sink.commands[-1] == "QUIT"


def test_a_mail_waits_while_the_mail_server_is_down(alice, closed_port, sink, by_smtp):
    by_smtp(closed_port.getsockname()[1])
    mail = plan("alice@example.com")
    jobs.deliver_mails()

    state, reason = outcome(mail)
    assert state == "planned"
    assert "ConnectionRefusedError" in reason
    assert timezone.now() < mail.due_at < timezone.now() + timedelta(seconds=11)

    by_smtp(sink.server_address[1])
    pass_time(seconds=11)
    jobs.deliver_mails()

    assert outcome(mail) == ("sent", "")
    assert [recipients for _, recipients, _ in sink.received] == [["alice@example.com"]]


@pytest.mark.parametrize(
    ("command", "answer", "reason"),
    [
        ("CONNECT", "421 too busy", "421 too busy"),
        ("CONNECT", "554 not today", "554 not today"),
        ("CONNECT", HANG_UP, "SMTPServerDisconnected"),
        ("MAIL", "451 try later", "451 try later"),
        ("MAIL", HANG_UP, "SMTPServerDisconnected"),
        ("RCPT", "450 mailbox busy", "450 mailbox busy"),
        ("RCPT", "421 closing", "421 closing"),
        ("DATA", "452 no room", "452 no room"),
        (END_OF_DATA, "451 greylisted", "451 greylisted"),
        (END_OF_DATA, HANG_UP, "SMTPServerDisconnected"),
        ("MAIL", "nonsense", "-1"),
    ],
)
def test_a_temporary_error_is_retried(alice, sink, command, answer, reason):
    mail = plan("alice@example.com")
    sink.answers = {command: answer}
    jobs.deliver_mails()

    assert outcome(mail)[0] == "planned"
    assert reason in mail.reason
    assert jobs.deliver_mails() == 0

    sink.answers = {}
    pass_time(seconds=11)
    jobs.deliver_mails()

    assert outcome(mail) == ("sent", "")
    ids = {message["Message-ID"] for _, _, message in sink.received}
    assert ids == {message_id(mail.pk, prefix="user-mail")}


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("MAIL", "550 not from here"),
        ("RCPT", "550 no such user"),
        ("DATA", "554 no"),
        (END_OF_DATA, "554 looks like spam"),
    ],
)
def test_a_permanent_error_is_dead_lettered(alice, bob, sink, command, answer, caplog):
    mail = plan("alice@example.com")
    sink.answers = {command: answer}
    jobs.deliver_mails()
    assert outcome(mail) == ("failed", answer)
    assert f"mail {mail.pk} is dead-lettered: {answer}" in caplog.messages

    sink.answers, sink.received = {}, []
    pass_time(days=1)
    plan("bob@example.com")
    jobs.deliver_mails()

    assert [recipients for _, recipients, _ in sink.received] == [["bob@example.com"]]


def test_a_hang_up_after_acceptance_is_a_success(alice, sink):
    sink.answers = {"QUIT": HANG_UP}
    mail = plan("alice@example.com")

    jobs.deliver_mails()

    assert outcome(mail) == ("sent", "")
    assert len(sink.received) == 1


def test_a_silent_server_does_not_stop_the_worker(alice, sink, settings):
    settings.EMAIL_TIMEOUT = 0.1
    sink.answers = {"CONNECT": HANG}
    mail = plan("alice@example.com")

    jobs.deliver_mails()

    assert outcome(mail)[0] == "planned"
    assert "timed out" in mail.reason.lower()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Django leaves it to the garbage collector
def test_without_required_tls_nothing_is_sent(alice, sink, settings):
    settings.EMAIL_USE_TLS = True
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "tm", "the mail server's password"
    mail = plan("alice@example.com")

    jobs.deliver_mails()

    assert outcome(mail)[0] == "planned"
    assert sink.received == []
    assert not {"MAIL", "AUTH"} & set(sink.commands)
    gc.collect()


@pytest.mark.parametrize("address", ACCEPTED)
def test_a_plain_address_is_used_unchanged(person, sink, address):
    person("Zoe", email=address)
    mail = plan(address)

    jobs.deliver_mails()

    assert outcome(mail) == ("sent", "")
    assert [(recipients, message["To"]) for _, recipients, message in sink.received] == [([address], address)]


# Header injection


@pytest.mark.parametrize("address", [address for address in [*REFUSED_UNTRIMMED, ""] if len(address) <= 254], ids=ascii)
def test_a_stored_hostile_address_gets_no_mail(alice, bob, sink, address, caplog):
    hostile = plan("alice@example.com")
    plan("bob@example.com")
    User.objects.filter(pk=alice.pk).update(email=address)

    jobs.deliver_mails()

    assert [recipients for _, recipients, _ in sink.received] == [["bob@example.com"]]
    assert outcome(hostile) == ("failed", "the account's address is not valid")
    assert not [record for record in caplog.records if record.exc_info]
    assert health.mails().state == "ok"


@pytest.mark.parametrize("name", ["Alice\r\nBcc: eve@evil.test", "Alice\n\n.\r\nMAIL FROM:<eve@evil.test>", "Zo\u00eb"])
def test_a_stored_hostile_name_stays_in_the_body(alice, sink, name):
    mail = plan("alice@example.com")
    User.objects.filter(pk=alice.pk).update(username=name)

    jobs.deliver_mails()

    ((_, recipients, message),) = sink.received
    assert outcome(mail) == ("sent", "")
    assert recipients == ["alice@example.com"]
    assert (message["Bcc"], message["Subject"]) == (None, "Choose a new password")
    lines = f"Hello {name},".splitlines()
    assert message.get_content().splitlines()[: len(lines)] == lines


# Secrets


@pytest.mark.parametrize(
    "answers", [{}, {END_OF_DATA: "554 looks like spam"}, {END_OF_DATA: HANG_UP}, {"RCPT": "550 no"}], ids=repr
)
def test_the_token_is_neither_stored_nor_logged(alice, sink, caplog, answers, monkeypatch):
    caplog.set_level(logging.DEBUG)
    tokens, issue = [], type(PasswordToken.objects.all()).issue

    def remember(*args):
        tokens.append(issue(*args))
        return tokens[-1]

    monkeypatch.setattr(type(PasswordToken.objects), "issue", remember)
    sink.answers = answers
    plan("alice@example.com")
    jobs.deliver_mails()

    (token,) = tokens
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" AS row WHERE strpos(row::text, %s) > 0', [token])
            assert cursor.fetchone() == (0,), table
    assert token not in caplog.text
    assert not any(token in str(vars(record)) for record in caplog.records)


def test_an_unexpected_error_reveals_no_token(alice, caplog, monkeypatch):
    def fail(self, *args, **kwargs):
        raise RuntimeError("no route")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    mail = plan("alice@example.com")

    jobs.deliver_mails()

    assert outcome(mail) == ("planned", "RuntimeError: no route")
    assert "RuntimeError: no route" in caplog.text
    assert '"token"' not in caplog.text


# Batches and workers


def test_a_call_sends_one_batch(person):
    for number in range(12):
        plan(person(f"Eve{number}").email)

    assert [jobs.deliver_mails() for _ in range(3)] == [10, 2, 0]
    assert len(post.outbox) == 12


@pytest.mark.django_db(transaction=True)
def test_four_workers_send_each_mail_once(person, at_once):
    for number in range(24):
        plan(person(f"Eve{number}").email)

    def work():
        while jobs.deliver_mails():
            pass

    at_once(*[work] * 4)

    assert sorted(message.to[0] for message in post.outbox) == sorted(
        f"eve{number}@example.com" for number in range(24)
    )
    assert set(Mail.objects.values_list("state", "attempts")) == {("sent", 1)}


def test_mails_wait_until_a_mail_server_is_configured(settings, client, alice):
    waiting = plan("alice@example.com", INVITATION)
    settings.MAILS_ARE_HELD = True

    held = jobs.deliver_mails()
    ready = client.get("/user/health/ready/").json()
    pass_time(days=3)
    settings.MAILS_ARE_HELD = False
    jobs.deliver_mails()

    assert held == 0
    assert ready == {"status": "degraded", "reasons": ["held: mails wait in the database until EMAIL_URL is set"]}
    assert outcome(waiting) == ("sent", "")


def test_an_old_reset_request_is_skipped(alice):
    waiting = plan("alice@example.com", RESET)
    pass_time(days=3)

    jobs.deliver_mails()

    assert outcome(waiting) == ("skipped", "the request is too old")
    assert post.outbox == []
