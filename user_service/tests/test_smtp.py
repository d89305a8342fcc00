"""Delivery of mails to an SMTP server that can misbehave."""

import gc
import logging
import socket
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone

from accounts import health, jobs
from accounts.models import Mail, PasswordToken, User
from chassis.testing.mail_addresses import ACCEPTED, REFUSED_UNTRIMMED
from chassis.testing.smtp_sink import END_OF_DATA, HANG, HANG_UP, serving
from chassis.worker.mailing import message_id
from tests.conftest import age_mails, outcome

pytestmark = pytest.mark.django_db

ALICE = "alice@example.com"
plan = partial(Mail.objects.plan, Mail.Kind.PASSWORD_RESET)


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


@pytest.mark.parametrize("answers", [{}, {"QUIT": HANG_UP}], ids=repr)
def test_mails_are_sent_by_smtp(alice, sink, answers):
    sink.answers = answers
    mail = plan(ALICE)

    jobs.deliver_mails()

    ((sender, recipients, message),) = sink.received
    assert outcome(mail) == ("sent", "")
    assert (sender, recipients) == ("noreply@tmservice.invalid", [ALICE])
    assert (message["To"], message["Subject"]) == (ALICE, "Choose a new password")
    assert message["Message-ID"] == message_id(mail.pk, prefix="user-mail")
    assert '"token": "' in message.get_content()
    assert sink.commands[-1] == "QUIT"


def test_an_unsent_mail_does_not_delay_others(alice, closed_port, settings):
    plan(ALICE)
    jobs.deliver_mails()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    second = plan(ALICE)

    jobs.deliver_mails()

    assert outcome(second) == ("sent", "")


def test_a_mail_waits_while_the_mail_server_is_down(alice, closed_port, sink, by_smtp):
    by_smtp(closed_port.getsockname()[1])
    mail, planned = plan(ALICE), timezone.now()
    jobs.deliver_mails()

    state, reason = outcome(mail)
    assert (state, "ConnectionRefusedError" in reason) == ("planned", True)
    assert planned < mail.due_at < timezone.now() + timedelta(seconds=11)

    by_smtp(sink.port)
    age_mails(seconds=11)
    jobs.deliver_mails()

    assert outcome(mail) == ("sent", "")
    assert [recipients for _, recipients, _ in sink.received] == [[ALICE]]


@pytest.mark.parametrize(
    ("command", "answer", "reason"),
    [
        ("CONNECT", "421 too busy", "421 too busy"),
        ("CONNECT", "554 not today", "554 not today"),
        ("CONNECT", HANG_UP, "SMTPServerDisconnected"),
        ("MAIL", "451 try later", "451 try later"),
        ("MAIL", "nonsense", "-1"),
        ("RCPT", "450 mailbox busy", "450 mailbox busy"),
        ("RCPT", "421 closing", "421 closing"),
        ("DATA", "452 no room", "452 no room"),
        (END_OF_DATA, "451 greylisted", "451 greylisted"),
        (END_OF_DATA, HANG_UP, "SMTPServerDisconnected"),
    ],
)
def test_a_temporary_error_is_retried(alice, sink, command, answer, reason):
    mail, planned = plan(ALICE), timezone.now()
    sink.answers = {command: answer}
    jobs.deliver_mails()

    assert outcome(mail)[0] == "planned"
    assert reason in mail.reason
    assert mail.due_at > planned

    sink.answers = {}
    age_mails(seconds=11)
    jobs.deliver_mails()

    assert outcome(mail) == ("sent", "")
    assert {message["Message-ID"] for _, _, message in sink.received} == {message_id(mail.pk, prefix="user-mail")}


@pytest.mark.parametrize(
    ("command", "answer"),
    [("MAIL", "550 no"), ("RCPT", "550 no such user"), ("DATA", "554 no"), (END_OF_DATA, "554 looks like spam")],
)
def test_a_permanent_error_is_dead_lettered(alice, bob, sink, command, answer, caplog):
    mail = plan(ALICE)
    sink.answers = {command: answer}
    jobs.deliver_mails()
    assert outcome(mail) == ("failed", answer)
    assert f"mail {mail.pk} is dead-lettered: {answer}" in caplog.messages

    sink.answers, sink.received = {}, []
    age_mails(days=1)
    plan("bob@example.com")
    jobs.deliver_mails()

    assert [recipients for _, recipients, _ in sink.received] == [["bob@example.com"]]


def test_a_silent_server_does_not_stop_the_worker(alice, sink, settings):
    settings.EMAIL_TIMEOUT = 0.1
    sink.answers = {"CONNECT": HANG}
    mail = plan(ALICE)

    jobs.deliver_mails()

    assert outcome(mail)[0] == "planned"
    assert "timed out" in mail.reason.lower()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Django leaves it to the garbage collector
def test_without_required_tls_nothing_is_sent(alice, sink, settings):
    settings.EMAIL_USE_TLS = True
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "tm", "the mail server's password"
    mail = plan(ALICE)

    jobs.deliver_mails()

    assert (outcome(mail)[0], sink.received) == ("planned", [])
    assert not {"MAIL", "AUTH"} & set(sink.commands)
    gc.collect()


@pytest.mark.parametrize("address", ACCEPTED)
def test_a_plain_address_is_used_unchanged(person, sink, address):
    person("Zoe", email=address)
    plan(address)

    jobs.deliver_mails()

    assert [(recipients, message["To"]) for _, recipients, message in sink.received] == [([address], address)]


# Header injection


@pytest.mark.parametrize("address", [address for address in [*REFUSED_UNTRIMMED, ""] if len(address) <= 254], ids=ascii)
def test_a_stored_hostile_address_gets_no_mail(alice, bob, sink, address, caplog):
    hostile = plan(ALICE)
    plan("bob@example.com")
    User.objects.filter(pk=alice.pk).update(email=address)

    jobs.deliver_mails()

    assert [recipients for _, recipients, _ in sink.received] == [["bob@example.com"]]
    assert outcome(hostile) == ("failed", "the account's address is not valid")
    assert not [record for record in caplog.records if record.exc_info]
    assert health.mails().state == "ok"


@pytest.mark.parametrize("name", ["Alice\r\nBcc: eve@evil.test", "Alice\n\n.\r\nMAIL FROM:<eve@evil.test>", "Zo\u00eb"])
def test_a_stored_hostile_name_stays_in_the_body(alice, sink, name):
    plan(ALICE)
    User.objects.filter(pk=alice.pk).update(username=name)

    jobs.deliver_mails()

    ((_, recipients, message),) = sink.received
    lines = f"Hello {name},".splitlines()
    assert (recipients, message["Bcc"], message["Subject"]) == ([ALICE], None, "Choose a new password")
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
    plan(ALICE)
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
    mail = plan(ALICE)

    jobs.deliver_mails()

    assert outcome(mail) == ("planned", "RuntimeError: no route")
    assert "RuntimeError: no route" in caplog.text
    assert '"token"' not in caplog.text
