"""Requests with the same Idempotency-Key at the same time."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from django.db import connection, transaction
from rest_framework.exceptions import ValidationError

from chassis.testing.clock import advance_time
from chassis.testing.threads import in_own_connection, together, wait_for_lock_waiter
from chassis.tests.idempotency_app.models import IdempotencyRecord, Note
from chassis.tests.idempotency_app.notes import HELLO, seen, send, texts

pytestmark = pytest.mark.django_db(transaction=True)


class Stage:
    """Blocks the first request until the test decides its result. Later ones pass."""

    def __init__(self):
        self.entered, self.may_end, self.error = Event(), Event(), None

    def __call__(self):
        if not self.entered.is_set():
            self.entered.set()
            assert self.may_end.wait(30)
            if self.error:
                raise self.error

    def end(self, error=None):
        self.error = error
        self.may_end.set()


@pytest.fixture
def stage(before_answering):
    stage = Stage()
    before_answering(stage)
    yield stage
    stage.end()


@pytest.fixture
def start():
    """Starts a request in a thread and returns its future; the result is a list with the response."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda **values: pool.submit(in_own_connection, lambda: send(**values))


@pytest.fixture
def first(stage, start):
    """The future of a request that creates a note and is still running."""
    running = start()
    assert stage.entered.wait(30)
    return running


@pytest.mark.parametrize("before", ["nothing", "an expired record"])
def test_six_concurrent_requests_create_one_note(before):
    if before == "an expired record":
        send({"text": "old"})
        advance_time(IdempotencyRecord, hours=25)
        Note.objects.all().delete()

    answers = together(6, send)

    assert [seen(answer) for answer in answers] == [seen(answers[0])] * 6
    assert answers[0].status_code == 201
    assert (texts(), IdempotencyRecord.objects.count()) == (["hello"], 1)


@pytest.mark.parametrize("body", [HELLO, {"text": "bye"}], ids=repr)
def test_a_duplicate_of_a_running_request_is_409_after_a_second(stage, first, body):
    began = time.monotonic()
    twin = send(body)
    waited_seconds = time.monotonic() - began
    stage.end()

    assert (twin.status_code, twin.json()["code"]) == (409, "idempotency_key_in_use")
    assert "still running" in twin.json()["detail"]
    assert twin.headers["Retry-After"] == "1"
    assert waited_seconds > 0.9
    (answer,) = first.result()
    assert (answer.status_code, texts()) == (201, ["hello"])
    assert seen(send()) == seen(answer)


def test_a_waiting_duplicate_replays_when_the_first_is_done(stage, start, first):
    twin = start()
    wait_for_lock_waiter()
    stage.end()

    assert seen(*twin.result()) == seen(*first.result())
    assert texts() == ["hello"]


@pytest.mark.parametrize(("error", "status"), [(ValidationError("no"), 400), (RuntimeError("a bug"), 500)], ids=repr)
def test_a_waiting_duplicate_runs_if_the_first_fails(stage, start, first, error, status):
    twin = start()
    wait_for_lock_waiter()
    stage.end(error)

    (failed,), (answer,) = first.result(), twin.result()
    assert (failed.status_code, answer.status_code) == (status, 201)
    assert seen(send()) == seen(answer)
    assert texts() == ["hello"]


@pytest.mark.parametrize("other", [{"sub": "8"}, {"path": "/more-notes/"}, {"method": "PUT"}, {"key": "k-2"}], ids=repr)
def test_different_keys_do_not_wait_for_each_other(stage, first, other):
    answer = send(**other)
    stage.end()

    assert (answer.status_code, first.result()[0].status_code) == (201, 201)
    assert texts() == ["hello", "hello"]


def test_another_interruption_is_not_reported_as_key_in_use(stage, first):
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '100ms'")
        twin = send()
        cursor.execute("RESET statement_timeout")
    stage.end()

    assert first.result()[0].status_code == 201
    assert (twin.status_code, twin.json()["code"]) == (503, "service_unavailable")


def test_waiting_for_another_row_is_not_key_in_use(before_answering, start):
    locked = Note.objects.create(text="locked")

    def wait_for_the_row():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '10ms'")
        Note.objects.select_for_update().get(pk=locked.pk)

    before_answering(wait_for_the_row)
    with transaction.atomic():
        Note.objects.select_for_update().get(pk=locked.pk)
        (answer,) = start().result()

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert texts() == ["locked"]


def test_deleting_expired_records_keeps_a_key_claimed_again(stage, start):
    stage.entered.set()
    send()
    advance_time(IdempotencyRecord, hours=25)
    stage.entered.clear()
    second = start(body={"text": "second"})
    assert stage.entered.wait(30)

    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(in_own_connection, IdempotencyRecord.objects.delete_expired)
        wait_for_lock_waiter()
        stage.end()
        deleting.result()

    assert second.result()[0].status_code == 201
    assert seen(send({"text": "second"})) == seen(*second.result())
    assert texts() == ["hello", "second"]
