"""Messages that could not be sent: which are retried, dead-lettered and replayed."""

import smtplib
from datetime import timedelta

import pytest
from django.db import IntegrityError

from chassis.testing.clock import advance_time
from chassis.tests.outbox_app.letters import FINISHED, Postbox, claim_one, plan, plan_all, states
from chassis.tests.outbox_app.models import Letter
from chassis.worker.outbox import (
    MAX_ATTEMPTS,
    PermanentFailure,
    Skipped,
    TemporaryFailure,
    backoff_seconds,
    deliver_due,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "error",
    [ValueError("no such template"), UnicodeEncodeError("ascii", "é", 0, 1, "no"), IntegrityError("x"), Exception()],
)
def test_a_message_that_cannot_be_rendered_delays_no_other(error, caplog):
    plan_all("before", "poison", "after")
    postbox = Postbox(poison=error)

    handled = deliver_due(Letter.objects, postbox)

    poison = Letter.objects.get(text="poison")
    assert (handled, postbox.sent) == (3, ["before", "after"])
    assert (poison.state, poison.attempts, poison.lease_token) == ("planned", 1, None)
    assert poison.reason == f"{type(error).__name__}: {error}".strip()
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[1] is error
    assert record.getMessage() == f"letter {poison.pk}: sending it failed unexpectedly"


@pytest.mark.parametrize(("attempts", "min_seconds", "max_seconds"), [(0, 5, 10), (5, 160, 320)])
def test_a_temporary_failure_is_retried_after_a_growing_pause(stopped_clock, attempts, min_seconds, max_seconds):
    plan("hello", attempts=attempts)

    deliver_due(Letter.objects, Postbox(hello=TemporaryFailure("greylisted")))

    letter = Letter.objects.get()
    assert (letter.state, letter.reason, letter.attempts) == ("planned", "greylisted", attempts + 1)
    assert min_seconds <= (letter.due_at - stopped_clock).total_seconds() <= max_seconds
    assert deliver_due(Letter.objects, Postbox()) == 0
    advance_time(Letter, seconds=max_seconds)
    assert deliver_due(Letter.objects, Postbox()) == 1
    letter.refresh_from_db()
    assert (letter.state, letter.reason, letter.attempts) == ("sent", "", attempts + 2)


@pytest.mark.parametrize(
    ("attempts", "shortest", "longest"),
    [(1, 5, 10), (2, 10, 20), (3, 20, 40), (9, 1280, 2560), (10, 1800, 3600), (MAX_ATTEMPTS, 1800, 3600)],
)
def test_retries_back_off_from_5_seconds_to_an_hour_with_jitter(attempts, shortest, longest):
    pauses = [backoff_seconds(attempts) for _ in range(200)]

    assert shortest <= min(pauses) < max(pauses) <= longest
    assert max(pauses) - min(pauses) > (longest - shortest) / 2


def test_a_permanent_failure_is_logged_and_not_retried(caplog):
    letter = plan("hello")

    deliver_due(Letter.objects, Postbox(hello=PermanentFailure("no address")))
    advance_time(Letter, days=2)

    assert deliver_due(Letter.objects, Postbox()) == 0
    assert Letter.objects.values_list("state", "reason").get() == ("failed", "no address")
    assert f"letter {letter.pk} is dead-lettered: no address" in caplog.messages


def recipients_refused(*replies):
    return smtplib.SMTPRecipientsRefused({f"{number}@example.com": reply for number, reply in enumerate(replies)})


UNKNOWN, BUSY = (550, b"no such user"), (450, b"mailbox busy")
SENDER = "tm@example.com"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (smtplib.SMTPDataError(554, b"looks like spam"), "failed", "554 looks like spam"),
        (smtplib.SMTPResponseException(599, "as text"), "failed", "599 as text"),
        (smtplib.SMTPSenderRefused(550, b"not from here", SENDER), "failed", "550 not from here"),
        (recipients_refused(UNKNOWN), "failed", "550 no such user"),
        (recipients_refused(UNKNOWN, (500, b"no")), "failed", "550 no such user; 500 no"),
        (recipients_refused(UNKNOWN, BUSY), "planned", "550 no such user; 450 mailbox busy"),
        (recipients_refused(), "planned", "SMTPRecipientsRefused: {}"),
        (smtplib.SMTPDataError(451, b"try later"), "planned", "451 try later"),
        (smtplib.SMTPResponseException(-1, b"garbled"), "planned", "-1 garbled"),
        (smtplib.SMTPResponseException(600, b"no such code"), "planned", "600 no such code"),
        (smtplib.SMTPSenderRefused(421, b"closing", SENDER), "planned", "421 closing"),
        (smtplib.SMTPSenderRefused(530, b"sign in first", SENDER), "planned", "530 sign in first"),
        (smtplib.SMTPAuthenticationError(535, b"wrong password"), "planned", "535 wrong password"),
        (smtplib.SMTPConnectError(554, b"no service here"), "planned", "554 no service here"),
        (smtplib.SMTPHeloError(550, b"who are you"), "planned", "550 who are you"),
        (smtplib.SMTPServerDisconnected("gone"), "planned", "SMTPServerDisconnected: gone"),
        (ConnectionRefusedError(111, "refused"), "planned", "ConnectionRefusedError: [Errno 111] refused"),
        (TimeoutError(), "planned", "TimeoutError:"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_smtp_error_is_permanent_if_every_reply_rejects(error, state, reason, caplog):
    plan("hello")

    deliver_due(Letter.objects, Postbox(hello=error))

    assert Letter.objects.values_list("state", "reason").get() == (state, reason)
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        *[("a\0b", "a b"), ("550 no\r\nsuch user", "550 no such user"), ("half \ud800 of a pair", "half of a pair")],
        *[("x" * 10_000, "x" * 499 + "\u2026"), ("", "no reason given"), ("\n", "no reason given")],
        ("größer 😀", "größer 😀"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("outcome", [Skipped, PermanentFailure, TemporaryFailure])
def test_any_reason_can_be_stored_and_is_one_line(outcome, given, kept):
    plan("hello")

    deliver_due(Letter.objects, Postbox(hello=outcome(given)))

    assert Letter.objects.get().reason == kept


@pytest.mark.parametrize("error", [TemporaryFailure("down"), ConnectionRefusedError("down"), ValueError("down")])
def test_a_message_is_dead_lettered_after_a_day(error):
    plan("hello")
    advance_time(Letter, hours=23)
    deliver_due(Letter.objects, Postbox(hello=error))
    assert states() == {"hello": "planned"}

    advance_time(Letter, hours=1)
    deliver_due(Letter.objects, Postbox(hello=error))

    letter = Letter.objects.get()
    assert (letter.state, letter.lease_token) == ("failed", None)
    assert "down" in letter.reason


def test_a_replayed_message_gets_another_day():
    planned_at = plan("hello").planned_at
    advance_time(Letter, days=3)
    deliver_due(Letter.objects, Postbox(hello=TemporaryFailure("down")))  # an overdue message still gets an attempt
    assert states() == {"hello": "failed"}

    assert Letter.objects.replay() == 1

    letter = Letter.objects.get()
    assert (letter.state, letter.attempts) == ("planned", 0)
    assert letter.planned_at == planned_at - timedelta(days=3)
    deliver_due(Letter.objects, Postbox(hello=TemporaryFailure("down")))
    assert states() == {"hello": "planned"}
    advance_time(Letter, hours=1)
    deliver_due(Letter.objects, Postbox())
    assert states() == {"hello": "sent"}


def test_replayed_messages_come_after_messages_due_earlier():
    plan("old", state="failed", reason="down")
    plan("new")

    Letter.objects.replay()

    assert claim_one().text == "new"


def test_only_failed_messages_are_replayed():
    for values in FINISHED:
        plan(values["state"], **values)
    plan("planned")
    plan("another", state="failed", reason="no address")

    assert Letter.objects.exclude(text="another").replay() == 1

    replayed = {"failed": "planned", "another": "failed"}
    assert states() == {"sent": "sent", "skipped": "skipped", "planned": "planned"} | replayed
