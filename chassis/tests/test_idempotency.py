import hashlib
import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from chassis.api import idempotency
from chassis.api.problems import Conflict
from chassis.testing.clock import advance_time
from chassis.tests.idempotency_app.models import IdempotencyRecord, Note
from chassis.tests.idempotency_app.notes import HELLO, seen, send, texts
from chassis.tests.urls import Notes

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)


def store(key="k-1", **values):
    row = {"caller_id": 7, "method": "POST", "path": "/notes/", "key": key, "created_at": timezone.now()}
    return IdempotencyRecord.objects.create(**row | {"status": 201, "headers": {}, "body": b"{}"} | values)


def test_six_equal_requests_create_one_note():
    answers = [send() for _ in range(6)]

    note = Note.objects.get()
    assert (answers[0].status_code, answers[0].json()) == (201, {"text": "hello", "id": note.pk, "size": 0.1})
    assert answers[0].headers["Location"] == f"/notes/{note.pk}/"
    assert answers[0].headers["ETag"] == f'"{note.pk}"'
    assert [seen(answer) for answer in answers] == [seen(answers[0])] * 6
    assert IdempotencyRecord.objects.count() == 1


def test_without_a_key_each_request_creates_a_note():
    assert [send(key=None).status_code for _ in range(2)] == [201, 201]
    assert texts() == ["hello", "hello"]
    assert not IdempotencyRecord.objects.exists()


def test_a_response_is_the_same_with_and_without_a_key():
    keyed, replayed, plain = send(), send(), send(key=None)

    assert keyed.headers.keys() == replayed.headers.keys() == plain.headers.keys() - {"X-Note"}
    for name in ("Content-Type", "Cache-Control", "Vary", "Allow", "X-Content-Type-Options"):
        assert keyed.headers[name] == replayed.headers[name] == plain.headers[name]


def test_a_replay_has_the_stored_bytes_and_its_own_request_id():
    first = send()
    Note.objects.all().delete()

    again = send()

    assert (again.content, texts()) == (first.content, [])
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]


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


def test_the_trailing_slash_makes_no_other_key():
    assert seen(send(path="/notes")) == seen(send(path="/notes/"))
    assert texts() == ["hello"]


def test_a_number_of_4000_digits_is_valid():
    body = b'{"text": "hello", "number": ' + b"9" * 4000 + b"}"

    assert [send(body).status_code for _ in range(2)] == [201, 201]
    assert send(body.replace(b"99}", b"98}")).status_code == 422
    assert texts() == ["hello"]


@pytest.mark.parametrize(("head", "tail"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
def test_a_deep_body_is_rejected_or_parsed_but_never_fails(head, tail):
    statuses = set()
    for depth in [*range(780, 1000, 3), 50_000]:
        body = b'{"text": "hello", "deep": ' + head * depth + b"1" + tail * depth + b"}"
        statuses.add(send(body, key=f"deep-{depth}").status_code)

    assert statuses == {201, 400}


@pytest.mark.parametrize(
    ("body", "other"),
    [
        *(
            (HELLO, other)
            for other in ({"text": "bye"}, {**HELLO, "more": None}, {"text": "Hello"}, {"text": "hello "})
        ),
        *((HELLO, other) for other in ([HELLO], {"text": ["hello"]}, {})),
        *(
            ({**HELLO, "value": one}, {**HELLO, "value": other})
            for one, other in ((1, True), (1, 1.0), (1, "1"), (None, False), ([1, 2], [2, 1]))
        ),
    ],
    ids=repr,
)
def test_another_body_with_the_same_key_is_422(body, other):
    first = send(body)

    answer = send(other)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert texts() == ["hello"]
    assert seen(send(body)) == seen(first)


def test_the_fingerprint_of_a_body_needs_the_secret(settings):
    send()
    stored = IdempotencyRecord.objects.get().fingerprint
    guess = json.dumps(HELLO, sort_keys=True).encode()

    assert idempotency.fingerprint(HELLO) == stored != hashlib.sha256(guess).hexdigest()
    settings.SECRET_KEY = "another-secret-0123456789-abcdefghijklmn"
    assert idempotency.fingerprint(HELLO) != stored


@pytest.mark.parametrize(
    "other",
    [{"sub": "8"}, {"path": "/more-notes/"}, {"method": "PUT"}, {"key": "k-2"}, {"key": "K-1"}, {"key": '"k-1"'}],
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
    assert send(sid="70").content == send(sid="71").content
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

    detail = "Must be 1 to 255 visible ASCII characters."
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "Idempotency-Key", "code": "invalid", "detail": detail}]
    assert texts() == []


@pytest.mark.parametrize("key", ["k-1", "k" * 256])
def test_keys_are_ignored_on_other_routes(key):
    assert send(path="/echo/", key=key).json() == {"received": HELLO}
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("path", ["/notes/", "/open-notes/"])
def test_a_replay_needs_authentication(path):
    send(path=path)

    assert send(path=path, sub=None).status_code == 401
    assert texts() == ["hello"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        *[(ValidationError({"text": "no"}), 400), (Conflict(), 409), (RuntimeError("a bug"), 500)],
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

    assert send({"text": "better"}).status_code == 201
    assert texts() == ["better"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"text": "a", "text": "b"}', b"\xff"])
def test_a_key_can_be_reused_after_an_unreadable_body(content):
    assert send(content).status_code == 400

    assert send().status_code == 201


@pytest.mark.parametrize(
    ("status", "is_stored"), [(200, True), (202, True), *((s, False) for s in (303, 404, 409, 503))]
)
def test_only_a_successful_response_is_stored(monkeypatch, status, is_stored):
    monkeypatch.setattr(Notes, "status", status)

    answers = [send() for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status, status]
    assert (answers[0].content == answers[1].content) is is_stored
    assert (len(texts()), IdempotencyRecord.objects.count()) == ((1, 1) if is_stored else (2, 0))


def test_other_responses_cannot_be_stored():
    with pytest.raises(IntegrityError, match="keptanswer_is_of_a_success"):
        store(status=404)


def test_an_unwritable_response_rolls_back_its_change(monkeypatch):
    monkeypatch.setattr(Notes, "size", 2**70)  # a number that the renderer cannot write

    assert send().status_code == 500
    assert not Note.objects.exists()
    assert not IdempotencyRecord.objects.exists()


def test_a_key_is_valid_for_24_hours_from_its_first_use():
    first = send()

    advance_time(IdempotencyRecord, hours=23, minutes=59)
    assert seen(send()) == seen(first)
    assert send({"text": "bye"}).status_code == 422

    advance_time(IdempotencyRecord, minutes=1)
    second = send({"text": "bye"})
    assert second.status_code == 201
    assert texts() == ["bye", "hello"]
    assert seen(send({"text": "bye"})) == seen(second)
    assert send().status_code == 422


def lock_timeout():
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return cursor.fetchone()[0]


def test_the_lock_timeout_of_a_second_only_applies_to_the_key(before_answering):
    limits = []
    before_answering(lambda: limits.append(lock_timeout()))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '7s'")

    for _ in range(2):
        send()

    assert [*limits, lock_timeout()] == ["7s", "7s"]
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


def test_responses_are_deleted_after_24_hours_in_batches(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(idempotency, "DELETE_BATCH_SIZE", 2)
    now = timezone.now()
    for number in range(5):
        store(key=f"old-{number}", created_at=now - timedelta(hours=24, minutes=number))
    recent = [store(key="recent", created_at=now - timedelta(hours=23, minutes=59)), store(key="new")]

    with django_assert_num_queries(7):  # three times SELECT and DELETE, and the last SELECT
        IdempotencyRecord.objects.delete_expired()

    assert list(IdempotencyRecord.objects.order_by("pk")) == recent
