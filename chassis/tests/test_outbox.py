import smtplib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from chassis.testing.threads import in_own_connection, together, wait_for_lock_waiter
from chassis.tests.outbox_app.models import Letter
from chassis.worker.outbox import (
    MAX_ATTEMPTS,
    PermanentFailure,
    Skipped,
    TemporaryFailure,
    backoff_seconds,
    classify,
    deliver_due,
)

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

MARKS = {
    "sent": lambda letter: letter.mark_sent(),
    "skipped": lambda letter: letter.mark_skipped("too late"),
    "failed": lambda letter: letter.mark_failed("too late"),
    "retry": lambda letter: letter.retry("too late"),
}
FINISHED = [
    {"state": "sent", "sent_at": timezone.now()},
    {"state": "skipped", "reason": "the task is completed"},
    {"state": "failed", "reason": "550 no such user"},
]


class Postbox:
    """Accepts letters, or raises the error that `errors` has for their text."""

    def __init__(self, **errors):
        self.errors, self.sent = errors, []

    def __call__(self, letter):
        if letter.text in self.errors:
            raise self.errors[letter.text]
        self.sent.append(letter.text)


def plan(text="hello", **values):
    return Letter.objects.create(text=text, **values)


def plan_all(*texts, **values):
    return [plan(text, **values) for text in texts]


def let_pass(**duration):
    """Move all times of all letters back, instead of waiting."""
    instants = ["planned_at", "due_at", "give_up_at", "leased_until", "sent_at"]
    Letter.objects.update(**{name: F(name) - timedelta(**duration) for name in instants})


def claim_one():
    (letter,) = Letter.objects.claim(1, lease_seconds=60)
    return letter


def states():
    return dict(Letter.objects.values_list("text", "state"))


# Delivering


def test_a_pending_message_is_sent_and_marked():
    plan("hello")
    postbox = Postbox()

    handled = deliver_due(Letter.objects, postbox)

    letter = Letter.objects.get()
    assert (handled, postbox.sent) == (1, ["hello"])
    assert (letter.state, letter.attempts, letter.reason) == ("sent", 1, "")
    assert (letter.lease_token, letter.leased_until) == (None, None)
    assert timezone.now() - letter.sent_at < timedelta(minutes=1)


def test_a_sent_message_is_not_sent_again():
    plan()
    postbox = Postbox()
    deliver_due(Letter.objects, postbox)
    let_pass(days=2)

    assert deliver_due(Letter.objects, postbox) == 0
    assert postbox.sent == ["hello"]


def test_messages_are_sent_in_planned_order():
    plan_all("one", "two", "three")
    postbox = Postbox()

    deliver_due(Letter.objects, postbox)

    assert postbox.sent == ["one", "two", "three"]


def test_one_call_handles_at_most_its_limit():
    plan_all("one", "two", "three")
    postbox = Postbox()

    assert [deliver_due(Letter.objects, postbox, limit=2) for _ in range(3)] == [2, 1, 0]
    assert postbox.sent == ["one", "two", "three"]


def test_a_message_is_not_sent_before_it_is_due():
    plan(due_at=timezone.now() + timedelta(minutes=5))
    assert deliver_due(Letter.objects, Postbox()) == 0

    let_pass(minutes=5)

    assert deliver_due(Letter.objects, Postbox()) == 1


def test_an_irrelevant_message_is_skipped_with_the_reason():
    plan("late")

    deliver_due(Letter.objects, Postbox(late=Skipped("the task is completed")))

    letter = Letter.objects.get()
    assert (letter.state, letter.reason, letter.sent_at) == ("skipped", "the task is completed", None)


def test_only_messages_of_the_queryset_are_delivered():
    plan("a mail", channel="email")
    plan("a line", channel="log")
    postbox = Postbox()

    deliver_due(Letter.objects.filter(channel="log"), postbox)

    assert postbox.sent == ["a line"]


def test_a_claim_works_on_a_queryset_with_any_value():
    plan('100 % "sure", isn\'t it? %s')

    (letter,) = Letter.objects.filter(text='100 % "sure", isn\'t it? %s').claim(1, lease_seconds=60)

    assert letter.text == '100 % "sure", isn\'t it? %s'


# Claiming


def test_a_claim_leases_messages_with_a_new_token():
    plan_all("one", "two", "three")

    first = Letter.objects.claim(2, lease_seconds=60)
    (second,) = Letter.objects.claim(2, lease_seconds=60)

    assert [letter.text for letter in [*first, second]] == ["one", "two", "three"]
    assert second.lease_token not in {None, first[0].lease_token}
    assert [letter.attempts for letter in [*first, second]] == [1, 1, 1]
    assert timedelta(seconds=50) < second.leased_until - timezone.now() <= timedelta(seconds=60)
    assert Letter.objects.get(pk=second.pk).lease_token == second.lease_token


def test_marking_one_claimed_message_leaves_the_others():
    plan_all("one", "two")
    first, _ = Letter.objects.claim(2, lease_seconds=60)

    first.mark_sent()

    assert states() == {"one": "sent", "two": "planned"}


def test_the_longest_overdue_messages_are_claimed_first():
    now = timezone.now()
    for minutes, text in enumerate(["latest", "middle", "earliest"]):
        plan(text, due_at=now - timedelta(minutes=minutes))

    assert [letter.text for letter in Letter.objects.claim(2, lease_seconds=60)] == ["middle", "earliest"]


@pytest.mark.parametrize("values", FINISHED, ids=lambda values: values["state"])
def test_finished_messages_are_not_claimed(values):
    plan(**values)

    assert Letter.objects.claim(1, lease_seconds=60) == []


@COMMITTING
def test_eight_workers_claim_each_of_200_messages_once():
    Letter.objects.bulk_create(Letter(text=str(number)) for number in range(200))

    def work():
        claimed = []
        while batch := Letter.objects.claim(7, lease_seconds=60):
            claimed += [letter.pk for letter in batch]
        return claimed

    claimed = [pk for each in together(8, work) for pk in each]

    assert sorted(claimed) == sorted(Letter.objects.values_list("pk", flat=True))
    assert set(Letter.objects.values_list("attempts", flat=True)) == {1}


@COMMITTING
def test_a_claim_skips_locked_rows():
    locked, free = plan_all("locked", "free")

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Letter.objects.select_for_update().get(pk=locked.pk)
        (letter,) = pool.submit(in_own_connection, claim_one).result(timeout=30)

    assert letter.pk == free.pk


@COMMITTING
def test_claiming_inside_a_transaction_is_rejected():
    plan()

    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        claim_one()

    assert Letter.objects.get().attempts == 0


# Leases and fencing


@pytest.mark.parametrize("death", [SystemExit(1), KeyboardInterrupt()], ids=lambda death: type(death).__name__)
def test_a_message_is_sent_again_when_its_lease_expires(death):
    letter = plan("hello")
    with pytest.raises(type(death)):
        deliver_due(Letter.objects, Postbox(hello=death))
    let_pass(seconds=58)
    assert deliver_due(Letter.objects, Postbox()) == 0
    let_pass(seconds=3)
    seen = []

    deliver_due(Letter.objects, seen.append)

    assert [(again.pk, again.attempts) for again in seen] == [(letter.pk, 2)]
    assert states() == {"hello": "sent"}


@pytest.mark.parametrize("late_mark", MARKS.values(), ids=MARKS)
def test_an_expired_lease_cannot_overwrite_the_next_one(late_mark):
    plan()
    late = claim_one()
    let_pass(seconds=61)
    current = claim_one()

    assert late_mark(late) is False
    assert Letter.objects.get().lease_token == current.lease_token
    assert current.mark_sent() is True
    assert late_mark(late) is False
    assert Letter.objects.get().state == "sent"


@pytest.mark.parametrize("late_mark", MARKS.values(), ids=MARKS)
@COMMITTING
def test_a_late_mark_is_rechecked_after_waiting_for_the_row(late_mark):
    plan()
    late = claim_one()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Letter.objects.update(lease_token="0" * 32)
            marking = pool.submit(in_own_connection, lambda: late_mark(late))
            wait_for_lock_waiter()
        assert marking.result(timeout=30) == [False]

    assert Letter.objects.get().state == "planned"


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
def test_an_unclaimed_message_cannot_be_marked(mark):
    assert mark(plan()) is False
    assert Letter.objects.get().state == "planned"


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
def test_a_claimed_message_can_be_marked_once(mark):
    plan()
    letter = claim_one()

    assert mark(letter) is True
    assert letter.mark_sent() is False


def test_a_worker_that_marks_too_late_logs_it(caplog):
    letter = plan()

    def dawdle(letter):
        let_pass(seconds=61)
        claim_one()

    deliver_due(Letter.objects, dawdle)

    assert Letter.objects.get().state == "planned"
    assert f"letter {letter.pk}: another worker has claimed it meanwhile" in caplog.messages


def test_a_message_that_kills_every_worker_is_dead_lettered():
    plan()
    Letter.objects.update(attempts=MAX_ATTEMPTS)
    postbox = Postbox()

    deliver_due(Letter.objects, postbox)

    letter = Letter.objects.get()
    assert (postbox.sent, letter.state) == ([], "failed")
    assert letter.reason == "claimed 100 times without ever being marked"


# Failures


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
    assert poison.due_at > timezone.now()
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[1] is error
    assert record.getMessage() == f"letter {poison.pk}: sending it failed unexpectedly"


def test_a_message_that_cannot_be_rendered_fails_after_a_day():
    plan("poison")
    postbox = Postbox(poison=ValueError("no such template"))

    attempts = 0
    while Letter.objects.filter(state="planned").exists():
        attempts += deliver_due(Letter.objects, postbox)
        let_pass(hours=1)

    letter = Letter.objects.get()
    assert (letter.state, letter.reason) == ("failed", "ValueError: no such template")
    assert attempts == letter.attempts == 25


def test_a_temporary_failure_is_retried_after_a_pause():
    plan("hello")

    deliver_due(Letter.objects, Postbox(hello=TemporaryFailure("greylisted")))

    letter = Letter.objects.get()
    assert (letter.state, letter.reason, letter.attempts) == ("planned", "greylisted", 1)
    assert timedelta(seconds=4) < letter.due_at - timezone.now() <= timedelta(seconds=10)
    assert deliver_due(Letter.objects, Postbox()) == 0
    let_pass(seconds=10)
    assert deliver_due(Letter.objects, Postbox()) == 1
    letter.refresh_from_db()
    assert (letter.state, letter.reason, letter.attempts) == ("sent", "", 2)


def test_the_pause_grows_with_the_attempts():
    plan("hello")
    Letter.objects.update(attempts=5)

    deliver_due(Letter.objects, Postbox(hello=TemporaryFailure("greylisted")))

    pause = Letter.objects.get().due_at - timezone.now()
    assert timedelta(seconds=150) < pause <= timedelta(seconds=320)


def test_a_permanent_failure_is_logged_and_not_retried(caplog):
    letter = plan("hello")

    deliver_due(Letter.objects, Postbox(hello=PermanentFailure("no address")))
    let_pass(days=2)

    assert deliver_due(Letter.objects, Postbox()) == 0
    assert Letter.objects.values_list("state", "reason").get() == ("failed", "no address")
    assert f"letter {letter.pk} is dead-lettered: no address" in caplog.messages


REFUSED = (550, b"no such user")
BUSY = (450, b"mailbox busy")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (smtplib.SMTPDataError(554, b"looks like spam"), "554 looks like spam"),
        (smtplib.SMTPResponseException(599, "as text"), "599 as text"),
        (smtplib.SMTPSenderRefused(550, b"not from here", "tm@example.com"), "550 not from here"),
        (smtplib.SMTPRecipientsRefused({"bob@example.com": REFUSED}), "550 no such user"),
        (
            smtplib.SMTPRecipientsRefused({"a@example.com": REFUSED, "b@example.com": (500, b"no")}),
            "550 no such user; 500 no",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_permanent_smtp_error_fails_the_message(error, reason):
    plan("hello")

    deliver_due(Letter.objects, Postbox(hello=error))

    assert Letter.objects.values_list("state", "reason").get() == ("failed", reason)
    assert isinstance(classify(error), PermanentFailure)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (smtplib.SMTPDataError(451, b"try later"), "451 try later"),
        (smtplib.SMTPResponseException(-1, b"garbled"), "-1 garbled"),
        (smtplib.SMTPResponseException(600, b"no such code"), "600 no such code"),
        (smtplib.SMTPSenderRefused(421, b"closing", "tm@example.com"), "421 closing"),
        (smtplib.SMTPSenderRefused(530, b"sign in first", "tm@example.com"), "530 sign in first"),
        (
            smtplib.SMTPRecipientsRefused({"a@example.com": REFUSED, "b@example.com": BUSY}),
            "550 no such user; 450 mailbox busy",
        ),
        (smtplib.SMTPRecipientsRefused({}), "SMTPRecipientsRefused: {}"),
        (smtplib.SMTPAuthenticationError(535, b"wrong password"), "535 wrong password"),
        (smtplib.SMTPConnectError(554, b"no service here"), "554 no service here"),
        (smtplib.SMTPHeloError(550, b"who are you"), "550 who are you"),
        (smtplib.SMTPServerDisconnected("gone"), "SMTPServerDisconnected: gone"),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: [Errno 111] Connection refused"),
        (TimeoutError(), "TimeoutError:"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_smtp_errors_are_temporary(error, reason, caplog):
    plan("hello")

    deliver_due(Letter.objects, Postbox(hello=error))

    assert Letter.objects.values_list("state", "reason").get() == ("planned", reason)
    assert isinstance(classify(error), TemporaryFailure)
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    ("expected", "kept"),
    [
        ("a\0b", "a b"),
        ("550 no\r\nsuch user", "550 no such user"),
        ("half \ud800 of a pair", "half of a pair"),
        ("x" * 10_000, "x" * 499 + "\u2026"),
        ("", "no reason given"),
        ("\n", "no reason given"),
        ("größer 😀", "größer 😀"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("outcome", [Skipped, PermanentFailure, TemporaryFailure])
def test_any_reason_can_be_stored_and_is_one_line(outcome, expected, kept):
    plan("hello")

    deliver_due(Letter.objects, Postbox(hello=outcome(expected)))

    assert Letter.objects.get().reason == kept


# Dead letters and replay


@pytest.mark.parametrize("error", [TemporaryFailure("down"), ConnectionRefusedError("down"), ValueError("down")])
def test_a_message_is_dead_lettered_after_a_day(error):
    plan("hello")
    let_pass(hours=23, minutes=59)
    deliver_due(Letter.objects, Postbox(hello=error))
    assert states() == {"hello": "planned"}

    let_pass(hours=1)
    deliver_due(Letter.objects, Postbox(hello=error))

    letter = Letter.objects.get()
    assert (letter.state, letter.lease_token) == ("failed", None)
    assert "down" in letter.reason


def test_an_overdue_message_still_gets_an_attempt():
    plan("hello")
    let_pass(days=3)
    postbox = Postbox()

    deliver_due(Letter.objects, postbox)

    assert postbox.sent == ["hello"]


def test_a_replayed_message_gets_another_day():
    planned_at = plan("hello").planned_at
    let_pass(days=3)
    deliver_due(Letter.objects, Postbox(hello=TemporaryFailure("down")))
    assert states() == {"hello": "failed"}

    assert Letter.objects.replay() == 1

    letter = Letter.objects.get()
    assert (letter.state, letter.attempts) == ("planned", 0)
    assert letter.planned_at == planned_at - timedelta(days=3)
    deliver_due(Letter.objects, Postbox(hello=TemporaryFailure("down")))
    assert states() == {"hello": "planned"}
    let_pass(hours=1)
    assert deliver_due(Letter.objects, Postbox()) == 1
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

    assert states() == {
        "sent": "sent",
        "skipped": "skipped",
        "failed": "planned",
        "planned": "planned",
        "another": "failed",
    }


@pytest.mark.parametrize(
    ("attempts", "shortest", "longest"),
    [
        (1, 5, 10),
        (2, 10, 20),
        (3, 20, 40),
        (9, 1280, 2560),
        (10, 1800, 3600),
        (11, 1800, 3600),
        (MAX_ATTEMPTS, 1800, 3600),
    ],
)
def test_retries_back_off_from_5_seconds_to_an_hour_with_jitter(attempts, shortest, longest):
    pauses = [backoff_seconds(attempts) for _ in range(200)]

    assert shortest <= min(pauses) < max(pauses) <= longest
    assert max(pauses) - min(pauses) > (longest - shortest) / 2


# Order


def test_messages_with_one_key_are_sent_in_order():
    plan_all("one", "two", "three", ordering_key=7)

    assert [letter.text for letter in Letter.objects.claim(5, lease_seconds=60)] == ["one"]
    assert Letter.objects.claim(5, lease_seconds=60) == []


def test_a_message_waits_for_the_retry_of_the_one_before_it():
    plan_all("one", "two", ordering_key=7)
    postbox = Postbox()
    deliver_due(Letter.objects, Postbox(one=TemporaryFailure("greylisted")))

    deliver_due(Letter.objects, postbox)
    assert postbox.sent == []

    let_pass(seconds=10)
    deliver_due(Letter.objects, postbox)
    assert postbox.sent == ["one", "two"]


@pytest.mark.parametrize("values", FINISHED, ids=lambda values: values["state"])
def test_finished_messages_do_not_delay_others(values):
    plan("one", ordering_key=7, **values)
    plan("two", ordering_key=7)

    assert claim_one().text == "two"


@pytest.mark.parametrize(("first", "second"), [(7, 8), (7, None), (None, 7), (None, None)])
def test_messages_with_different_keys_do_not_wait_for_each_other(first, second):
    plan("one", ordering_key=first)
    plan("two", ordering_key=second)

    assert [letter.text for letter in Letter.objects.claim(5, lease_seconds=60)] == ["one", "two"]


def test_order_applies_within_a_queryset():
    plan("a mail", channel="email", ordering_key=7)
    plan("a line", channel="log", ordering_key=7)
    claim_one()

    assert Letter.objects.claim(1, lease_seconds=60) == []
    assert [letter.text for letter in Letter.objects.filter(channel="log").claim(1, lease_seconds=60)] == ["a line"]


@COMMITTING
def test_many_workers_keep_the_order_of_each_key():
    for number in range(60):
        plan(str(number), ordering_key=number % 4)
    sent, lock = [], Lock()

    def send(letter):
        with lock:
            sent.append((letter.ordering_key, letter.pk))

    def work():
        while Letter.objects.filter(state="planned").exists():
            deliver_due(Letter.objects, send)

    together(8, work)

    assert len(sent) == 60
    for key in range(4):
        of_key = [pk for ordering_key, pk in sent if ordering_key == key]
        assert of_key == sorted(of_key)


# Constraints and counts


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"state": "lost"}, "state_is_known"),
        ({"state": "sent"}, "sent_at_goes_with_sent"),
        ({"sent_at": timezone.now()}, "sent_at_goes_with_sent"),
        ({"lease_token": "0" * 32}, "lease_is_whole"),
        ({"leased_until": timezone.now()}, "lease_is_whole"),
        (
            {"state": "failed", "reason": "x", "lease_token": "0" * 32, "leased_until": timezone.now()},
            "lease_is_of_a_planned",
        ),
        ({"state": "skipped"}, "reason_is_given"),
        ({"state": "failed"}, "reason_is_given"),
    ],
)
def test_an_impossible_message_cannot_be_stored(values, constraint):
    with pytest.raises(IntegrityError, match=f"letter_{constraint}"):
        plan(**values)


def test_the_model_passes_djangos_checks():
    call_command("check", "outbox_app", fail_level="WARNING")


def test_an_empty_outbox_has_waited_for_no_time():
    assert Letter.objects.oldest_pending_age_seconds() == 0.0


def test_the_oldest_message_is_the_oldest_that_is_planned():
    for values in [*FINISHED, FINISHED[0]]:
        plan(**values)
    let_pass(hours=2)
    plan_all("one", "two")
    let_pass(seconds=90)
    plan("three")

    assert 90 <= Letter.objects.oldest_pending_age_seconds() < 120
