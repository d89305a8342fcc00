import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F
from django.test import Client
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from chassis.api import idempotency
from chassis.api.problems import Conflict
from chassis.testing.forge import claims, signed
from chassis.testing.threads import in_own_connection, together, wait_for_lock_waiter
from chassis.tests.idempotency_app.models import IdempotencyRecord, Note
from chassis.tests.urls import Notes

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

HELLO = {"text": "hello"}


def send(body=HELLO, *, key="k-1", caller=7, path="/notes/", method="POST"):
    """Send a body, as a value or as bytes; a bug in a view is a 500."""
    headers = {"Authorization": f"Bearer {signed(claims(sub=str(caller)))}"} if caller else {}
    if key is not None:
        headers["Idempotency-Key"] = key
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    client = Client(raise_request_exception=False)
    return client.generic(method, path, content, content_type="application/json", headers=headers)


def seen(answer):
    """Everything a client sees except the request id."""
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
    return answer.status_code, answer.content, headers


def texts():
    return sorted(Note.objects.values_list("text", flat=True))


def let_pass(**duration):
    IdempotencyRecord.objects.update(created_at=F("created_at") - timedelta(**duration))


@pytest.fixture
def before_answering(monkeypatch):
    """Runs a function after a note is created and before the response is stored."""
    return lambda happen: monkeypatch.setattr(Notes, "before_answering", staticmethod(happen))


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


# Replaying


def test_six_equal_requests_create_one_note():
    answers = [send() for _ in range(6)]

    note = Note.objects.get()
    assert (answers[0].status_code, answers[0].json()) == (201, {"text": "hello", "id": note.pk, "size": 0.1})
    assert answers[0].headers["Location"] == f"/notes/{note.pk}/"
    assert answers[0].headers["ETag"] == f'"{note.pk}"'
    assert [seen(answer) for answer in answers] == [seen(answers[0])] * 6
    assert IdempotencyRecord.objects.count() == 1


def test_without_a_key_each_request_creates_a_note():
    answers = [send(key=None) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert texts() == ["hello", "hello"]
    assert not IdempotencyRecord.objects.exists()


def test_a_response_is_the_same_with_and_without_a_key():
    keyed, replayed, plain = send(), send(), send(key=None)

    assert keyed.headers.keys() == replayed.headers.keys() == plain.headers.keys() - {"X-Note"}
    for name in ("Content-Type", "Cache-Control", "Vary", "Allow", "X-Content-Type-Options"):
        assert keyed.headers[name] == replayed.headers[name] == plain.headers[name]


def test_a_replay_has_its_own_request_id():
    ids = {send().headers["X-Request-ID"] for _ in range(2)}

    assert len(ids) == 2


def test_a_replay_has_the_bytes_of_the_first_response():
    first = send()
    Note.objects.all().delete()

    assert send().content == first.content
    assert texts() == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"h\xc3\xa9","to":[1,{"b":2,"a":1}]}',
        b' {"to" : [1, {"a": 1, "b": 2}],\n"text": "h\xc3\xa9"}\n',
        b'{"text": "h\\u00e9", "to": [1, {"a": 1, "b": 2}]}',
    ],
)
def test_equivalent_json_is_the_same_body(body):
    first = send({"text": "hé", "to": [1, {"a": 1, "b": 2}]})

    assert seen(send(body)) == seen(first)
    assert texts() == ["hé"]


@pytest.mark.parametrize("paths", [("/notes", "/notes/"), ("/notes/", "/notes")])
def test_the_trailing_slash_makes_no_other_key(paths):
    first, second = [send(path=path) for path in paths]

    assert seen(first) == seen(second)
    assert texts() == ["hello"]


def test_a_number_of_4000_digits_is_valid():
    body = b'{"text": "hello", "number": ' + b"9" * 4000 + b"}"

    assert [send(body).status_code for _ in range(2)] == [201, 201]
    assert send(body.replace(b"99}", b"98}")).status_code == 422
    assert texts() == ["hello"]


@pytest.mark.parametrize("wrap", [b"[%b]", b'{"a":%b}'], ids=["lists", "objects"])
def test_a_deep_body_is_rejected_or_parsed_but_never_fails(wrap):
    statuses = set()
    for depth in [*range(780, 1000, 3), 50_000]:
        head, tail = wrap.split(b"%b")
        body = b'{"text": "hello", "deep": ' + head * depth + b"1" + tail * depth + b"}"
        statuses.add(send(body, key=f"deep-{depth}").status_code)

    assert statuses == {201, 400}


# Another body


@pytest.mark.parametrize(
    "body",
    [{"text": "bye"}, {**HELLO, "more": None}, {"text": "Hello"}, {"text": "hello "}, [HELLO], {"text": ["hello"]}, {}],
    ids=repr,
)
def test_another_body_with_the_same_key_is_422(body):
    first = send()

    answer = send(body)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert texts() == ["hello"]
    assert seen(send()) == seen(first)


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (1, "1"), (None, False), ([1, 2], [2, 1])])
def test_similar_values_are_different_bodies(one, other):
    statuses = [send({**HELLO, "value": value}).status_code for value in (one, other)]

    assert statuses == [201, 422]


def test_the_fingerprint_of_a_body_needs_the_secret(settings):
    send()
    kept = IdempotencyRecord.objects.get().fingerprint
    guess = json.dumps(HELLO, sort_keys=True).encode()

    assert idempotency.fingerprint(HELLO) == kept != hashlib.sha256(guess).hexdigest()
    settings.SECRET_KEY = "another-secret-0123456789-abcdefghijklmn"
    assert idempotency.fingerprint(HELLO) != kept


# Scope of a key


@pytest.mark.parametrize(
    "other",
    [{"caller": 8}, {"path": "/more-notes/"}, {"method": "PUT"}, {"key": "k-2"}, {"key": "K-1"}, {"key": '"k-1"'}],
    ids=repr,
)
def test_a_key_belongs_to_one_caller_method_and_path(other):
    first = send()

    second = send(**other)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content != second.content
    assert texts() == ["hello", "hello"]
    assert seen(send(**other)) == seen(second)


def test_a_key_works_in_another_session_of_the_caller():
    bodies = set()
    for session in ("70", "71"):
        headers = {"Authorization": f"Bearer {signed(claims(sid=session))}", "Idempotency-Key": "k-1"}
        bodies.add(Client().post("/notes/", HELLO, content_type="application/json", headers=headers).content)

    assert len(bodies) == 1
    assert texts() == ["hello"]


@pytest.mark.parametrize("key", ["!", "~", "k" * 255, "a,b", '"quoted"', "8e03978e-40d5-43dd-bc93-6894a57f9324", "0"])
def test_a_key_is_used_verbatim(key):
    answers = [send(key=key) for _ in range(2)]

    assert seen(answers[0]) == seen(answers[1])
    assert IdempotencyRecord.objects.get().key == key
    assert texts() == ["hello"]


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "k" * 256, "schlüssel", "\xa0", "a\tb", "a\n", "a\0", "\x7f"], ids=ascii
)
def test_a_malformed_key_is_named(key):
    answer = send(key=key)

    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"field": "Idempotency-Key", "code": "invalid", "detail": "Must be 1 to 255 visible ASCII characters."}
    ]
    assert texts() == []


@pytest.mark.parametrize("key", ["k-1", "k" * 256])
def test_keys_are_ignored_on_other_routes(key):
    assert send(path="/echo/", key=key).json() == {"received": HELLO}
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("path", ["/notes/", "/open-notes/"])
def test_a_replay_needs_authentication(path):
    send(path=path)

    answer = send(path=path, caller=None)

    assert answer.status_code == 401
    assert texts() == ["hello"]


# Stored responses and their expiry


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValidationError({"text": "no"}), 400),
        (Conflict(), 409),
        (RuntimeError("a bug"), 500),
        (OperationalError("the connection is gone"), 503),
    ],
    ids=repr,
)
def test_a_failed_request_is_rolled_back_and_releases_its_key(before_answering, error, status):
    def fail():
        raise error

    before_answering(fail)
    assert send().status_code == status
    assert (texts(), IdempotencyRecord.objects.count()) == ([], 0)
    before_answering(lambda: None)

    answer = send({"text": "better"})

    assert answer.status_code == 201
    assert texts() == ["better"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"text": "a", "text": "b"}', b"\xff"])
def test_a_key_can_be_reused_after_an_unreadable_body(content):
    assert send(content).status_code == 400

    assert send().status_code == 201


@pytest.mark.parametrize("status", [200, 202])
def test_every_successful_response_is_stored(monkeypatch, status):
    monkeypatch.setattr(Notes, "status", status)

    answers = [send() for _ in range(2)]

    assert seen(answers[0]) == seen(answers[1])
    assert (answers[0].status_code, texts()) == (status, ["hello"])


@pytest.mark.parametrize("status", [303, 404, 409, 503])
def test_other_responses_are_not_stored(monkeypatch, status):
    monkeypatch.setattr(Notes, "status", status)

    answers = [send() for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status, status]
    assert (texts(), IdempotencyRecord.objects.count()) == (["hello", "hello"], 0)


def test_other_responses_cannot_be_stored():
    with pytest.raises(IntegrityError, match="keptanswer_is_of_a_success"):
        kept(status=404)


def test_an_unwritable_response_rolls_back_its_change(monkeypatch):
    monkeypatch.setattr(Notes, "size", 2**70)  # a number that the renderer cannot write

    assert send().status_code == 500
    assert not Note.objects.exists()
    assert not IdempotencyRecord.objects.exists()


def test_a_key_is_valid_for_24_hours():
    first = send()

    let_pass(hours=23, minutes=59)
    assert seen(send()) == seen(first)
    assert send({"text": "bye"}).status_code == 422

    let_pass(minutes=1)
    second = send({"text": "bye"})
    assert second.status_code == 201
    assert texts() == ["bye", "hello"]
    assert seen(send({"text": "bye"})) == seen(second)
    assert send().status_code == 422


def test_a_replay_does_not_extend_the_24_hours():
    send()
    let_pass(hours=13)
    send()
    let_pass(hours=13)

    assert send().status_code == 201
    assert texts() == ["hello", "hello"]


def test_the_lock_timeout_only_applies_to_the_key(before_answering):
    limits = []
    before_answering(lambda: limits.append(lock_timeout()))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '7s'")

    for _ in range(2):
        send()

    assert [*limits, lock_timeout()] == ["7s", "7s"]


def test_a_claim_waits_one_second_for_a_lock():
    with transaction.atomic(), idempotency.short_wait():
        assert lock_timeout() == "1s"


@COMMITTING
def test_a_key_costs_a_transaction_and_four_statements(django_assert_num_queries):
    with django_assert_num_queries(1):
        send(key=None)
    with django_assert_num_queries(1 + 2 + 4):
        send()
    with django_assert_num_queries(2 + 4):
        send()


def lock_timeout():
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return cursor.fetchone()[0]


# Several at once


@COMMITTING
@pytest.mark.parametrize("before", ["nothing", "an old answer"])
def test_six_concurrent_requests_create_one_note(before):
    if before == "an old answer":
        send({"text": "old"})
        let_pass(hours=25)
        Note.objects.all().delete()

    answers = together(6, send)

    assert [seen(answer) for answer in answers] == [seen(answers[0])] * 6
    assert answers[0].status_code == 201
    assert (texts(), IdempotencyRecord.objects.count()) == (["hello"], 1)


@COMMITTING
@pytest.mark.parametrize("body", [HELLO, {"text": "bye"}], ids=repr)
def test_a_duplicate_of_a_running_request_is_409_after_a_second(stage, start, body):
    first = start()
    assert stage.entered.wait(30)

    began = time.monotonic()
    twin = send(body)
    waited_seconds = time.monotonic() - began
    stage.end()

    assert (twin.status_code, twin.json()["code"]) == (409, "idempotency_key_in_use")
    assert "still running" in twin.json()["detail"]
    assert twin.headers["Retry-After"] == "1"
    assert waited_seconds > 0.9
    assert [answer.status_code for answer in first.result()] == [201]
    assert texts() == ["hello"]


@COMMITTING
def test_a_duplicate_replays_after_the_first(stage, start):
    first = start()
    assert stage.entered.wait(30)
    assert send().status_code == 409
    stage.end()
    (answer,) = first.result()

    assert seen(send()) == seen(answer)
    assert texts() == ["hello"]


@COMMITTING
def test_a_waiting_duplicate_replays_when_the_first_is_done(stage, start):
    first = start()
    assert stage.entered.wait(30)
    twin = start()
    wait_for_lock_waiter()
    stage.end()

    assert seen(*twin.result()) == seen(*first.result())
    assert texts() == ["hello"]


@COMMITTING
@pytest.mark.parametrize(("error", "status"), [(ValidationError("no"), 400), (RuntimeError("a bug"), 500)], ids=repr)
def test_a_waiting_duplicate_runs_if_the_first_fails(stage, start, error, status):
    first = start()
    assert stage.entered.wait(30)
    twin = start()
    wait_for_lock_waiter()
    stage.end(error)

    (failed,), (answer,) = first.result(), twin.result()
    assert (failed.status_code, answer.status_code) == (status, 201)
    assert seen(send()) == seen(answer)
    assert texts() == ["hello"]


@COMMITTING
@pytest.mark.parametrize(
    "other", [{"caller": 8}, {"path": "/more-notes/"}, {"method": "PUT"}, {"key": "k-2"}], ids=repr
)
def test_different_keys_do_not_wait_for_each_other(stage, start, other):
    first = start()
    assert stage.entered.wait(30)

    answer = send(**other)
    stage.end()

    assert (answer.status_code, first.result()[0].status_code) == (201, 201)
    assert texts() == ["hello", "hello"]


@COMMITTING
def test_another_interruption_is_not_reported_as_key_in_use(stage, start):
    first = start()
    assert stage.entered.wait(30)

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '100ms'")
        twin = send()
        cursor.execute("RESET statement_timeout")
    stage.end()

    assert first.result()[0].status_code == 201
    assert (twin.status_code, twin.json()["code"]) == (503, "service_unavailable")


@COMMITTING
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


# Deleting expired records


def kept(key="k-1", **values):
    row = {"caller_id": 7, "method": "POST", "path": "/notes/", "key": key, "created_at": timezone.now()}
    return IdempotencyRecord.objects.create(**row | {"status": 201, "headers": {}, "body": b"{}"} | values)


def test_responses_are_deleted_after_24_hours(monkeypatch):
    monkeypatch.setattr(idempotency, "DELETE_BATCH_SIZE", 2)
    now = timezone.now()
    for number in range(5):
        kept(key=f"old-{number}", created_at=now - timedelta(hours=24, minutes=number))
    recent = [kept(key="recent", created_at=now - timedelta(hours=23, minutes=59)), kept(key="new")]

    IdempotencyRecord.objects.delete_expired()

    assert list(IdempotencyRecord.objects.order_by("pk")) == recent


def test_expired_records_are_deleted_in_batches(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(idempotency, "DELETE_BATCH_SIZE", 2)
    for number in range(5):
        kept(key=f"old-{number}", created_at=timezone.now() - timedelta(hours=25))

    with django_assert_num_queries(7):  # three times SELECT and DELETE, and the last SELECT
        IdempotencyRecord.objects.delete_expired()


@COMMITTING
def test_deleting_expired_records_keeps_a_key_claimed_again(stage, start):
    stage.entered.set()
    send()
    let_pass(hours=25)
    stage.entered.clear()
    second = start(body={"text": "second"})
    assert stage.entered.wait(30)

    with ThreadPoolExecutor(1) as pool:
        forgetting = pool.submit(in_own_connection, IdempotencyRecord.objects.delete_expired)
        wait_for_lock_waiter()
        stage.end()
        forgetting.result()

    assert second.result()[0].status_code == 201
    assert seen(send({"text": "second"})) == seen(*second.result())
    assert texts() == ["hello", "second"]


def test_the_model_passes_djangos_checks():
    call_command("check", "idempotency_app", fail_level="WARNING")
