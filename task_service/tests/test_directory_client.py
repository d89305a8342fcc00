"""The lookup of an assignee over a real socket, with a user service that is down, slow or wrong."""

import gzip
import json
import socket
import struct
import time
from contextlib import ExitStack

import pytest

from chassis.auth import tokens
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

    (call,) = user_service.calls
    scheme, token = call.headers["Authorization"].split()
    assert answer.status_code == 201
    assert call.path == f"/internal/users/?ids={newcomer.id}"
    assert (scheme, tokens.verify_service(token).name) == ("Bearer", "task_service")
    assert call.headers["X-Request-ID"] == answer["X-Request-ID"] == "asked-by.Ada_1"


def test_a_generated_request_id_is_passed_on(ada, newcomer, user_service):
    answer = assign(ada, newcomer)

    assert user_service.calls[0].headers["X-Request-ID"] == answer["X-Request-ID"]


def test_proxies_from_the_environment_are_ignored(ada, newcomer, user_service, another_server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", another_server.url)
    monkeypatch.setenv("http_proxy", another_server.url)

    answer = assign(ada, newcomer)

    assert answer.status_code == 201
    assert another_server.calls == []


def row_with(**changes):
    def reaction(call):
        call.answer({"results": [row | changes for row in call.rows]})

    return reaction


def without(name):
    def reaction(call):
        call.answer({"results": [{key: row[key] for key in row if key != name} for row in call.rows]})

    return reaction


def status(code):
    def reaction(call):
        call.answer({"results": call.rows}, status=code)

    return reaction


def text(content, **headers):
    def reaction(call):
        call.answer(content, **headers)

    return reaction


def twice(call):
    body = json.dumps({"results": call.rows}).replace('"is_active": true', '"is_active": false, "is_active": true')
    call.answer(body.encode())


def padded(call):
    call.answer(json.dumps({"results": call.rows}).encode() + b" " * 10_000_000)


def padded_and_compressed(call):
    content = json.dumps({"results": call.rows}).encode() + b" " * 50_000_000
    call.answer(gzip.compress(content, 1), Content_Encoding="gzip")


def endless(call):
    call.send_raw(RESPONSE + b"\r\n", *[b" " * 60_000] * 1000)


def truncated(call):
    body = json.dumps({"results": call.rows}).encode()
    call.send_raw(RESPONSE + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:-9])


def truncated_chunk(call):
    call.send_raw(RESPONSE + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{")


def not_compressed(call):
    call.answer({"results": call.rows}, Content_Encoding="gzip")


def no_http(call):
    call.send_raw(b"\x15\x03\x01\x00\x02\x02\x16 hello \r\n\r\n")


def hangs_up(call):
    call.close_connection = True


def reset(call):
    call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.close_connection = True
    call.connection.close()


def reset_in_the_middle(call):
    call.wfile.write(RESPONSE + b'Content-Length: 500\r\n\r\n{"results": [')
    time.sleep(0.1)  # so that this part arrives before the reset
    reset(call)


@pytest.mark.parametrize(
    "reaction",
    [
        pytest.param(reaction, id=name)
        for name, reaction in {
            "500": status(500),
            "401": status(401),
            "404": status(404),
            "another 2xx": status(203),
            "html": text(b"<!doctype html><h1>Hello</h1>", Content_Type="text/html"),
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
            "an id that is a float": row_with(id=105.0),
            "active as a string": row_with(is_active="false"),
            "active as a number": row_with(is_active=1),
            "active as null": row_with(is_active=None),
            "no username": without("username"),
            "no is_active": without("is_active"),
            "a key twice": twice,
            "ten megabytes": padded,
            "fifty megabytes compressed": padded_and_compressed,
            "endless": endless,
            "truncated": truncated,
            "truncated in a chunk": truncated_chunk,
            "not compressed though it says so": not_compressed,
            "not http": no_http,
            "hangs up": hangs_up,
            "resets": reset,
            "resets in the middle": reset_in_the_middle,
        }.items()
    ],
)
def test_an_invalid_response_is_503(ada, newcomer, user_service, reaction):
    user_service.reaction = reaction

    answer = assign(ada, newcomer)

    assert is_unavailable(answer)
    assert answer.json()["code"] == "service_unavailable"


def test_a_redirect_is_not_followed(ada, newcomer, user_service, another_server):
    another_server.people = user_service.people
    user_service.reaction = lambda call: call.answer(b"", status=302, Location=another_server.url + call.path)

    answer = assign(ada, newcomer)

    assert is_unavailable(answer)
    assert another_server.calls == []


def test_a_refused_connection_is_503_at_once(ada, newcomer, user_service):
    user_service.close()
    began = time.monotonic()

    assert is_unavailable(assign(ada, newcomer))
    assert time.monotonic() - began < HANG_SECONDS


def valid_body(call):
    return json.dumps({"results": call.rows}).encode()


def silent(call):
    call.send_raw(b"", pause=60)


def silent_after_the_headers(call):
    call.send_raw(RESPONSE + b"Content-Length: 500\r\n\r\n", pause=60)


def drips_headers(call):
    call.send_raw(RESPONSE, *[b"X: y\r\n"] * MAX_DRIPS, b"\r\n" + valid_body(call), pause=0.1)


def drips_one_header(call):
    call.send_raw(RESPONSE + b"X: ", *[b"y"] * MAX_DRIPS, b"\r\n\r\n" + valid_body(call), pause=0.1)


def drips_interim_responses(call):
    call.send_raw(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * MAX_DRIPS, RESPONSE + b"\r\n" + valid_body(call), pause=0.1)


def drips_body(call):
    call.send_raw(RESPONSE + b"\r\n", *[b" "] * MAX_DRIPS, valid_body(call), pause=0.1)


def drips_compressed_body(call):
    compressed = gzip.compress(valid_body(call))
    pieces = [compressed[at : at + 2] for at in range(0, len(compressed), 2)]
    call.send_raw(RESPONSE + b"Content-Encoding: gzip\r\n\r\n", *pieces, pause=0.1)


def drips_chunks(call):
    call.send_raw(
        RESPONSE + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * MAX_DRIPS, b"0\r\n\r\n", pause=0.1
    )


def drips_a_chunk_size(call):
    call.send_raw(
        RESPONSE + b"Transfer-Encoding: chunked\r\n\r\n1;x=", *[b"y"] * MAX_DRIPS, b"\r\n \r\n0\r\n\r\n", pause=0.1
    )


@pytest.mark.parametrize(
    "reaction",
    [
        silent,
        silent_after_the_headers,
        drips_headers,
        drips_one_header,
        drips_interim_responses,
        drips_body,
        drips_compressed_body,
        drips_chunks,
        drips_a_chunk_size,
    ],
)
def test_a_call_ends_at_its_deadline(ada, newcomer, user_service, reaction):
    user_service.reaction = reaction
    began = time.monotonic()

    answer = assign(ada, newcomer)

    assert time.monotonic() - began < HANG_SECONDS
    assert is_unavailable(answer)


def test_a_server_that_accepts_no_connection_is_503(ada, newcomer, settings):
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


@pytest.mark.parametrize("failure", [reset, hangs_up, reset_in_the_middle])
def test_a_broken_connection_is_retried_once(ada, newcomer, user_service, failure):
    user_service.reactions = [failure]

    answer = assign(ada, newcomer)

    assert answer.status_code == 201
    assert len(user_service.calls) == 2


def test_a_connection_that_breaks_twice_is_503(ada, newcomer, user_service):
    user_service.reactions = [reset, reset]

    assert is_unavailable(assign(ada, newcomer))
    assert len(user_service.calls) == 2


@pytest.mark.parametrize(
    "failure", [status(500), padded, truncated, drips_body], ids=["500", "huge", "truncated", "slow"]
)
def test_a_failure_does_not_affect_the_next_lookup(ada, newcomer, user_service, failure):
    user_service.reaction, correct_reaction = failure, user_service.reaction
    assert is_unavailable(assign(ada, newcomer))

    user_service.reaction = correct_reaction

    assert assign(ada, newcomer).status_code == 201


def test_reading_works_without_the_user_service(ada, alice, create_task, user_service):
    task = create_task(assigned_to=alice.id)
    user_service.close()

    answers = [alice.get("/task/tasks/"), alice.get(f"/task/tasks/{task.pk}/"), ada.get("/task/tasks/?assigned_to=102")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
