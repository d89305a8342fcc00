"""The lookup of an assignee over a real socket, with a user service that is down, slow or wrong."""

import gzip
import json
import socket
import struct
import time
from contextlib import ExitStack

import pytest

from chassis.auth import tokens
from directory import client
from tasks.models import Task

pytestmark = pytest.mark.django_db

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MAX_DRIPS = 300  # at 0.1 s each: far longer than the deadline
HANG_SECONDS = 25  # only a bound against hanging


def assign(ada, newcomer, **headers):
    return ada.post("/task/tasks/", {"title": "Water the plants", "assigned_to": newcomer.id}, **headers)


def is_unavailable(answer):
    return answer.status_code == 503 and answer["Retry-After"].isdigit() and not Task.objects.exists()


def test_it_works(ada, newcomer, user_service):
    answer = assign(ada, newcomer, HTTP_X_REQUEST_ID="asked-by.Ada_1")
    again = assign(ada, newcomer)

    (call,) = user_service.calls
    scheme, token = call.headers["Authorization"].split()
    sent = tokens.verify_service(token)
    assert (answer.status_code, again.status_code) == (201, 201)
    assert answer.json()["assignee"] == {"id": newcomer.id, "username": "nora"}
    assert call.path == f"/internal/users/?ids={newcomer.id}"
    assert (scheme, sent.name, sent.on_behalf_of) == ("Bearer", "task_service", ada.id)
    assert call.headers["X-Request-ID"] == answer["X-Request-ID"] == "asked-by.Ada_1"


def test_proxies_from_the_environment_are_ignored(ada, newcomer, user_service, another_server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", another_server.url)
    monkeypatch.setenv("http_proxy", another_server.url)

    assert assign(ada, newcomer).status_code == 201
    assert another_server.calls == []


# Invalid responses


def valid_body(call):
    return json.dumps({"results": call.rows}).encode()


def answering(change=bytes, **options):
    """Return a reaction: the valid response, with another body, status or headers."""
    return lambda call: call.answer(change(valid_body(call)), **options)


def row_with(**changes):
    return lambda call: call.answer({"results": [row | changes for row in call.rows]})


def without(name):
    return lambda call: call.answer({"results": [{key: row[key] for key in row if key != name} for row in call.rows]})


def text(content):
    return lambda call: call.answer(content)


def sending(*pieces):
    return lambda call: call.send_raw(*pieces)


def truncated(call):
    body = valid_body(call)
    call.send_raw(RESPONSE + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:-9])


def hangs_up(call):
    call.close_connection = True


def reset(call):
    call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.close_connection = True
    call.connection.close()


def reset_in_the_middle(call):
    call.wfile.write(RESPONSE + b'Content-Length: 500\r\n\r\n{"results": [')
    time.sleep(0.1)  # so that this part usually arrives before the reset
    reset(call)


padded = answering(lambda body: body + b" " * 10_000_000)
INVALID = {
    **{str(status): answering(status=status) for status in (500, 401, 404, 203)},
    "html": text(b"<!doctype html><h1>Hello</h1>"),
    "nothing": text(b""),
    "null": text(b"null"),
    "a list": text(b"[]"),
    "no results": text(b"{}"),
    "results null": text(b'{"results": null}'),
    "results of null": text(b'{"results": [null]}'),
    "results of ids": text(b'{"results": [105]}'),
    "deep nesting": text(b"[" * 60_000),
    "not utf-8": text(b'{"results": "\xff"}'),
    "wrong id": row_with(id=103),
    "an id that is a string": row_with(id="105"),
    "active as a number": row_with(is_active=1),
    "no username": without("username"),
    "a key twice": answering(lambda body: body.replace(b'"is_active": ', b'"is_active": false, "is_active": ')),
    "ten megabytes": padded,
    "compressed": answering(lambda body: gzip.compress(body + b" " * 50_000_000, 1), Content_Encoding="gzip"),
    "endless": sending(RESPONSE + b"\r\n", *[b" " * 60_000] * 1000),
    "truncated": truncated,
    "truncated in a chunk": sending(RESPONSE + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{"),
    "not compressed though it says so": answering(Content_Encoding="gzip"),
    "not http": sending(b"\x15\x03\x01\x00\x02\x02\x16 hello \r\n\r\n"),
    "hangs up": hangs_up,
    "resets": reset,
    "resets in the middle": reset_in_the_middle,
}


@pytest.mark.parametrize("reaction", INVALID.values(), ids=INVALID)
def test_an_invalid_response_is_503(ada, newcomer, user_service, reaction):
    user_service.reaction = reaction

    answer = assign(ada, newcomer)

    assert is_unavailable(answer)
    assert answer.json()["code"] == "service_unavailable"


def test_a_refused_connection_is_503(ada, newcomer, user_service):
    user_service.close()

    assert is_unavailable(assign(ada, newcomer))


def test_a_redirect_is_not_followed(ada, newcomer, user_service, another_server):
    another_server.people = user_service.people
    user_service.reaction = lambda call: call.answer(b"", status=302, Location=another_server.url + call.path)

    assert is_unavailable(assign(ada, newcomer))
    assert another_server.calls == []


# Time limits


def silent(call):
    call.send_raw(b"", pause=60)


def silent_after_the_headers(call):
    call.send_raw(RESPONSE + b"Content-Length: 500\r\n\r\n", pause=60)


def dripping(start, drip, end=b""):
    """Return a reaction: a valid response in tiny pieces that would take 30 seconds."""
    return lambda call: call.send_raw(start, *[drip] * MAX_DRIPS, end + valid_body(call), pause=0.1)


def drips_compressed_body(call):
    body = gzip.compress(valid_body(call), 0)
    call.send_raw(RESPONSE + b"Content-Encoding: gzip\r\n\r\n", *(body[i : i + 1] for i in range(len(body))), pause=0.1)


drips_body = dripping(RESPONSE + b"\r\n", b" ")
CHUNKED = RESPONSE + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = {
    "silent": silent,
    "silent after the headers": silent_after_the_headers,
    "headers": dripping(RESPONSE, b"X: y\r\n", b"\r\n"),
    "one header": dripping(RESPONSE + b"X: ", b"y", b"\r\n\r\n"),
    "interim responses": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", RESPONSE + b"\r\n"),
    "body": drips_body,
    "compressed body": drips_compressed_body,
    "chunks": dripping(CHUNKED, b"1\r\n \r\n"),
    "a chunk size": dripping(CHUNKED + b"1;x=", b"y", b"\r\n \r\n"),
}


@pytest.mark.parametrize("reaction", SLOW.values(), ids=SLOW)
def test_a_call_ends_at_its_deadline(ada, newcomer, user_service, monkeypatch, reaction):
    monkeypatch.setattr(client, "TOTAL_SECONDS", 0.5)
    user_service.reaction = reaction
    began = time.monotonic()

    answer = assign(ada, newcomer)

    assert time.monotonic() - began < HANG_SECONDS
    assert is_unavailable(answer)


def test_a_server_that_accepts_no_connection_is_503(ada, newcomer, settings, monkeypatch):
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.1)
    with ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # more than the backlog, so the kernel drops the next
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        settings.USER_SERVICE_URL = f"http://127.0.0.1:{full.getsockname()[1]}"
        began = time.monotonic()

        answer = assign(ada, newcomer)

    assert time.monotonic() - began < HANG_SECONDS
    assert is_unavailable(answer)


# Broken connections


@pytest.mark.parametrize("failure", [reset, hangs_up, reset_in_the_middle])
def test_a_broken_connection_is_retried_once(ada, newcomer, user_service, failure):
    user_service.reactions = [failure]

    assert assign(ada, newcomer).status_code == 201
    users = [
        tokens.verify_service(call.headers["Authorization"].split()[1]).on_behalf_of for call in user_service.calls
    ]
    assert users == [ada.id, ada.id]


def test_a_server_that_does_not_begin_to_respond_is_called_twice(ada, newcomer, user_service, monkeypatch):
    monkeypatch.setattr(client, "READ_SECONDS", 0.1)
    user_service.reaction = silent

    assert is_unavailable(assign(ada, newcomer))
    assert len(user_service.calls) == 2


def test_a_connection_that_breaks_twice_is_503(ada, newcomer, user_service):
    user_service.reactions = [reset, reset]

    assert is_unavailable(assign(ada, newcomer))
    assert len(user_service.calls) == 2


@pytest.mark.parametrize(
    "failure", [answering(status=500), padded, truncated, drips_body], ids=["500", "huge", "truncated", "slow"]
)
def test_a_failure_does_not_affect_the_next_lookup(ada, newcomer, user_service, monkeypatch, failure):
    correct_reaction, user_service.reaction = user_service.reaction, failure
    with monkeypatch.context() as patch:
        patch.setattr(client, "TOTAL_SECONDS", 0.5)
        assert is_unavailable(assign(ada, newcomer))

    user_service.reaction = correct_reaction
    assert assign(ada, newcomer).status_code == 201


def test_reading_works_without_the_user_service(ada, alice, create_task, user_service):
    task = create_task(assigned_to=alice.id)
    user_service.close()

    answers = [alice.get("/task/tasks/"), alice.get(f"/task/tasks/{task.pk}/"), ada.get("/task/tasks/?assigned_to=102")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
