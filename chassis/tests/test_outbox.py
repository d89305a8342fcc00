from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from chassis.testing.clock import advance_time
from chassis.testing.threads import in_own_connection, together, wait_for_lock_waiter
from chassis.tests.outbox_app.letters import FINISHED, Postbox, claim, claim_one, plan, plan_all, states
from chassis.tests.outbox_app.models import Letter
from chassis.worker.outbox import MAX_ATTEMPTS, Skipped, TemporaryFailure, deliver_due

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

MARKS = {
    "sent": lambda letter: letter.mark_sent(),
    "skipped": lambda letter: letter.mark_skipped("too late"),
    "failed": lambda letter: letter.mark_failed("too late"),
    "retry": lambda letter: letter.retry("too late"),
}


def test_a_pending_message_is_sent_and_marked():
    plan("hello")
    postbox = Postbox()

    handled = deliver_due(Letter.objects, postbox)

    letter = Letter.objects.get()
    assert (handled, postbox.sent) == (1, ["hello"])
    assert (letter.state, letter.attempts, letter.reason) == ("sent", 1, "")
    assert (letter.lease_token, letter.leased_until) == (None, None)
    assert timezone.now() - letter.sent_at < timedelta(minutes=1)


def test_one_call_handles_at_most_its_limit_in_planned_order():
    plan_all("one", "two", "three")
    postbox = Postbox()

    assert [deliver_due(Letter.objects, postbox, limit=2) for _ in range(3)] == [2, 1, 0]
    assert postbox.sent == ["one", "two", "three"]


def test_a_message_is_not_sent_before_it_is_due():
    plan(due_at=timezone.now() + timedelta(minutes=5))
    assert deliver_due(Letter.objects, Postbox()) == 0

    advance_time(Letter, minutes=5)

    assert deliver_due(Letter.objects, Postbox()) == 1


def test_an_irrelevant_message_is_skipped_with_the_reason():
    plan("late")

    deliver_due(Letter.objects, Postbox(late=Skipped("it is completed")))

    assert Letter.objects.values_list("state", "reason", "sent_at").get() == ("skipped", "it is completed", None)


def test_a_claim_leases_messages_with_a_new_token():
    plan_all("one", "two", "three")

    first = claim(2)
    (second,) = claim(2)

    assert [letter.text for letter in [*first, second]] == ["one", "two", "three"]
    assert second.lease_token not in {None, first[0].lease_token}
    assert [letter.attempts for letter in [*first, second]] == [1, 1, 1]
    assert timedelta(0) < second.leased_until - timezone.now() <= timedelta(seconds=60)
    assert Letter.objects.get(pk=second.pk).lease_token == second.lease_token


def test_a_claim_works_on_a_queryset_with_any_value():
    odd, _ = plan_all('100 % "sure", isn\'t it? %s', "another")

    assert Letter.objects.filter(text=odd.text).claim(2, lease_seconds=60) == [odd]


def test_marking_one_claimed_message_leaves_the_others():
    plan_all("one", "two")

    claim(2)[0].mark_sent()

    assert states() == {"one": "sent", "two": "planned"}


def test_the_longest_overdue_messages_are_claimed_first():
    now = timezone.now()
    for minutes, text in enumerate(["latest", "middle", "earliest"]):
        plan(text, due_at=now - timedelta(minutes=minutes))

    assert [letter.text for letter in claim(2)] == ["middle", "earliest"]


@COMMITTING
def test_eight_workers_claim_each_of_200_messages_once():
    Letter.objects.bulk_create(Letter(text=str(number)) for number in range(200))

    def work():
        claimed = []
        while batch := claim(7):
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


@pytest.mark.parametrize("death", [SystemExit(1), KeyboardInterrupt()], ids=lambda death: type(death).__name__)
@pytest.mark.usefixtures("stopped_clock")
def test_a_message_is_sent_again_when_its_lease_expires(death):
    letter = plan("hello")
    with pytest.raises(type(death)):
        deliver_due(Letter.objects, Postbox(hello=death))
    advance_time(Letter, seconds=59)
    assert deliver_due(Letter.objects, Postbox()) == 0
    advance_time(Letter, seconds=1)
    seen = []

    deliver_due(Letter.objects, seen.append)

    assert [(again.pk, again.attempts) for again in seen] == [(letter.pk, 2)]
    assert states() == {"hello": "sent"}


@pytest.mark.parametrize("late_mark", MARKS.values(), ids=MARKS)
def test_an_expired_lease_cannot_overwrite_the_next_one(late_mark):
    plan()
    late = claim_one()
    advance_time(Letter, seconds=61)
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
def test_a_message_is_marked_once_and_only_when_claimed(mark):
    assert mark(plan()) is False
    letter = claim_one()

    assert mark(letter) is True
    assert letter.mark_sent() is False


def test_a_worker_that_marks_too_late_logs_it(caplog):
    letter = plan()

    def dawdle(letter):
        advance_time(Letter, seconds=61)
        claim_one()

    deliver_due(Letter.objects, dawdle)

    assert Letter.objects.get().state == "planned"
    assert f"letter {letter.pk}: another worker has claimed it meanwhile" in caplog.messages


def test_a_message_that_kills_every_worker_is_dead_lettered():
    plan(attempts=MAX_ATTEMPTS)
    postbox = Postbox()

    deliver_due(Letter.objects, postbox)

    letter = Letter.objects.get()
    assert (postbox.sent, letter.state) == ([], "failed")
    assert letter.reason == "claimed 100 times without ever being marked"


def test_messages_with_one_key_are_sent_in_order():
    plan_all("one", "two", "three", ordering_key=7)

    assert [[letter.text for letter in claim(5)] for _ in range(2)] == [["one"], []]


@pytest.mark.usefixtures("stopped_clock")
def test_a_message_waits_for_the_retry_of_the_one_before_it():
    plan_all("one", "two", ordering_key=7)
    postbox = Postbox()
    deliver_due(Letter.objects, Postbox(one=TemporaryFailure("greylisted")))

    deliver_due(Letter.objects, postbox)
    assert postbox.sent == []

    advance_time(Letter, seconds=10)
    deliver_due(Letter.objects, postbox)
    assert postbox.sent == ["one", "two"]


@pytest.mark.parametrize("values", FINISHED, ids=lambda values: values["state"])
def test_finished_messages_are_neither_claimed_nor_waited_for(values):
    plan("one", ordering_key=7, **values)
    plan("two", ordering_key=7)

    assert [letter.text for letter in claim(5)] == ["two"]


@pytest.mark.parametrize(("first", "second"), [(7, 8), (7, None), (None, 7), (None, None)])
def test_messages_with_different_keys_do_not_wait_for_each_other(first, second):
    plan("one", ordering_key=first)
    plan("two", ordering_key=second)

    assert [letter.text for letter in claim(5)] == ["one", "two"]


def test_order_applies_within_a_queryset():
    plan("a mail", channel="email", ordering_key=7)
    plan("a line", channel="log", ordering_key=7)
    claim_one()

    assert claim() == []
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
    assert sorted(sent) == sorted(sent, key=lambda each: each[0])  # a stable sort: in order within each key


NOW = timezone.now()
LEASE = {"lease_token": "0" * 32, "leased_until": NOW}


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"state": "lost"}, "state_is_known"),
        ({"state": "sent"}, "sent_at_goes_with_sent"),
        ({"sent_at": NOW}, "sent_at_goes_with_sent"),
        ({"lease_token": LEASE["lease_token"]}, "lease_is_whole"),
        ({"leased_until": LEASE["leased_until"]}, "lease_is_whole"),
        ({"state": "failed", "reason": "x", **LEASE}, "lease_is_of_a_planned"),
        ({"state": "skipped"}, "reason_is_given"),
        ({"state": "failed"}, "reason_is_given"),
    ],
)
def test_an_impossible_message_cannot_be_stored(values, constraint):
    with pytest.raises(IntegrityError, match=f"letter_{constraint}"):
        plan(**values)


def test_the_abstract_models_pass_djangos_checks():
    call_command("check", "outbox_app", "idempotency_app", fail_level="WARNING")


def test_an_outbox_is_as_old_as_its_oldest_pending_message():
    for values in FINISHED:
        plan(**values)
    assert Letter.objects.oldest_pending_age_seconds() == 0.0

    advance_time(Letter, hours=2)
    plan_all("one", "two")
    advance_time(Letter, seconds=90)
    plan("three")

    assert 90 <= Letter.objects.oldest_pending_age_seconds() < 90 + 60


def test_a_claim_is_compiled_once_and_sees_new_messages():
    queue = Letter.objects.filter(channel="email")
    compiled = queue.claim_query(1)

    assert queue.claim(1, lease_seconds=60) == []
    written = Letter.objects.create(text="hello")

    assert queue.claim(1, lease_seconds=60) == [written]
    assert queue.claim_query(1) is compiled
    assert queue.filter(channel="log").claim_query(1) is not compiled
