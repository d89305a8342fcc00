"""Reading the feed of changed accounts: triggers, time limits and validation."""

import gzip
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Semaphore
from types import SimpleNamespace

import pytest
from rest_framework.test import APIClient

from chassis.auth import tokens
from directory import feed
from directory.models import Feed, User
from tests.conftest import set_feed_age

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

LIST = "/task/tasks/"


def directory():
    return list(User.objects.order_by("id").values())


def names():
    return dict(User.objects.values_list("id", "username"))


# Triggers


def test_it_works(alice, bob, user_service):
    user_service.change(bob, username="robert", email="robert@tm.example", role="admin", epoch=2, least_epoch=1)
    set_feed_age(seconds_ago=3)

    answer = alice.get(LIST, HTTP_X_REQUEST_ID="asked-by.Alice_1")

    (call,) = user_service.calls
    sent = tokens.verify_service(call.headers["Authorization"].removeprefix("Bearer "))
    assert answer.status_code == 200
    assert call.path == "/internal/users/changes/?after=1000"
    assert (sent.name, sent.on_behalf_of) == ("task_service", None)
    assert call.headers["X-Request-ID"] == "asked-by.Alice_1"
    facts = {"username": "robert", "email": "robert@tm.example", "role": "admin"}
    state = {"is_active": True, "is_deleted": False, "epoch": 2, "least_epoch": 1, "position": 1001}
    assert User.objects.values().get(pk=bob.id) == {"id": bob.id} | facts | state
    read = Feed.objects.get()
    assert (read.position, read.pulled_at >= read.tried_at) == (1001, True)


@pytest.mark.parametrize(
    ("asking", "seconds_ago", "failed", "pulls"),
    [
        ("request", 1.5, False, []),
        ("request", 2.1, False, [1000]),
        ("request", 3.5, True, []),
        ("request", 4.1, True, [1000]),
        ("worker", 0.5, False, []),
        ("worker", 1.1, False, [1000]),
        ("worker", 0.5, True, []),
        ("worker", 1.1, True, [1000]),
    ],
)
def test_a_stale_feed_is_read(alice, user_service, asking, seconds_ago, failed, pulls):
    set_feed_age(seconds_ago=seconds_ago, failed=failed)

    for _ in range(3):
        alice.get(LIST) if asking == "request" else feed.pull_by_worker()

    assert user_service.pulls == pulls


def test_an_idle_worker_reads_rarely_and_a_busy_one_always(alice, user_service, monkeypatch):
    now, turn = [1000.0], feed.PullWhileBusy()
    monkeypatch.setattr(feed, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def pulls_in_a_minute():
        before = len(user_service.pulls)
        for _ in range(30):
            turn()
            set_feed_age(seconds_ago=3)
            turn.last_try = feed.last_try()  # no other process has read it
            now[0] += 2
        return len(user_service.pulls) - before

    busy_at_first, idle = pulls_in_a_minute(), pulls_in_a_minute()
    alice.get(LIST)
    busy_again, idle_again = pulls_in_a_minute(), pulls_in_a_minute()

    assert busy_at_first >= 29
    assert busy_again >= 29
    assert 3 <= idle <= 5
    assert 3 <= idle_again <= 5


def test_a_failure_counts_as_an_attempt_only(alice, user_service):
    user_service.reaction = lambda call: call.answer(b"", status=500)
    set_feed_age(seconds_ago=5)
    before = Feed.objects.get()

    answers = [alice.get(LIST) for _ in range(3)]

    after = Feed.objects.get()
    assert [answer.status_code for answer in answers] == [200] * 3
    assert user_service.pulls == [1000]
    assert (after.position, after.pulled_at) == (before.position, before.pulled_at)
    assert after.tried_at > before.tried_at


def test_an_unread_feed_is_read_from_the_beginning(alice, user_service):
    Feed.objects.all().delete()

    assert [alice.get(LIST).status_code for _ in range(2)] == [200, 200]
    assert user_service.pulls == [0]
    assert Feed.objects.get().position == 103  # the position of bob, the last account


def test_anonymous_requests_do_not_read_the_feed(charlie, user_service):
    set_feed_age(seconds_ago=60)

    assert [charlie.get(LIST).status_code, APIClient().get(LIST).status_code] == [401, 401]
    assert user_service.calls == []


def test_the_request_that_reads_the_feed_uses_the_result(ada, alice, user_service):
    user_service.change(alice, is_active=False)
    set_feed_age(seconds_ago=3)
    assert alice.get(LIST).status_code == 401

    user_service.change(ada, role="user")
    set_feed_age(seconds_ago=3)
    assert ada.post(LIST, {"title": "Water"}).status_code == 403


def test_a_request_reads_one_page_and_the_worker_all(alice, bob, newcomer, user_service):
    user_service.page_size = 1
    for person in (alice, bob, newcomer):
        user_service.change(person, username=f"{person.username}2")

    set_feed_age(seconds_ago=3)
    alice.get(LIST)

    assert (user_service.pulls, names()[alice.id]) == ([1000], "alice2")
    assert (Feed.objects.get().position, names()[bob.id], newcomer.id in names()) == (1001, "bob", False)

    set_feed_age(seconds_ago=3)
    feed.pull_by_worker()

    assert (user_service.pulls, Feed.objects.get().position) == ([1000, 1001, 1002], 1003)
    assert (names()[bob.id], names()[newcomer.id]) == ("bob2", "nora2")


@COMMITTING
@pytest.mark.parametrize("never_read", [True, False])
def test_one_of_many_concurrent_requests_reads_the_feed(alice, user_service, at_once, never_read):
    answered, in_time = Semaphore(0), []

    def answer_when_the_others_are_done(call):
        in_time.extend(answered.acquire(timeout=0.4) for _ in range(5))
        call.answer_correctly()

    def ask():
        answer = alice.get(LIST)
        answered.release()
        return answer.status_code

    user_service.reaction = answer_when_the_others_are_done
    set_feed_age(seconds_ago=3)
    if never_read:
        Feed.objects.all().delete()

    assert at_once(*[(ask,)] * 6) == [200] * 6
    assert user_service.pulls == [0 if never_read else 1000]
    assert in_time == [True] * 5


# Time limits


def silent(call):
    call.send_raw(b"", pause=60)


def drips(call):
    call.send_raw(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 600, pause=0.1)


@pytest.mark.parametrize("reaction", [silent, drips])
def test_a_request_spends_at_most_half_a_second(alice, user_service, reaction):
    user_service.reaction = reaction
    set_feed_age(seconds_ago=60)
    before, began = directory(), time.monotonic()

    answers = [alice.get(LIST), alice.get(LIST)]

    assert time.monotonic() - began < 30
    assert [answer.status_code for answer in answers] == [200, 200]
    assert directory() == before


def test_the_worker_waits_longer_than_a_request(alice, user_service):
    def answer_slowly(call):
        call.server.closing.wait(0.55)
        call.answer_correctly()

    user_service.reaction = answer_slowly
    user_service.change(alice, username="alicia")
    set_feed_age(seconds_ago=60)

    feed.pull_by_worker()

    assert names()[alice.id] == "alicia"


@pytest.fixture
def full_server(settings):
    """A listening socket, and a function that fills its backlog, so that the kernel drops the next connection."""
    with ExitStack() as sockets:
        full_server = sockets.enter_context(socket.socket())
        full_server.bind(("127.0.0.1", 0))
        full_server.listen(0)
        settings.USER_SERVICE_URL = f"http://127.0.0.1:{full_server.getsockname()[1]}"

        def fill():
            for _ in range(3):
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full_server.getsockname())

        yield full_server, fill


def test_connecting_is_limited_to_half_a_second(alice, full_server):
    _, fill = full_server
    fill()
    set_feed_age(seconds_ago=60)
    began = time.monotonic()

    assert [alice.get(LIST).status_code for _ in range(2)] == [200, 200]
    assert time.monotonic() - began < 30


def test_a_second_connection_is_within_the_same_limit(alice, full_server):
    socket_, fill = full_server

    def break_late():
        connection, _ = socket_.accept()
        with connection:
            connection.recv(10_000)
            time.sleep(0.3)
            fill()

    set_feed_age(seconds_ago=60)
    with ThreadPoolExecutor(1) as pool:
        breaking = pool.submit(break_late)
        began = time.monotonic()

        assert alice.get(LIST).status_code == 200
        assert time.monotonic() - began < 30
        breaking.result()


# Validation


def with_page(**values):
    return lambda page: page | values


def with_row(**values):
    """Change the first row of a page."""
    return lambda page: page | {"results": [page["results"][0] | values, page["results"][1]]}


def with_user(**values):
    return lambda page: with_row(user=page["results"][0]["user"] | values)(page)


def without(name):
    return lambda page: {key: value for key, value in page.items() if key != name}


def rows_without(name):
    return lambda page: page | {"results": [without(name)(row) for row in page["results"]]}


def one_account_twice(page):
    first, second = page["results"]
    return page | {"results": [first, first | {"position": second["position"]}]}


def backwards(page):
    return page | {"results": page["results"][::-1], "next_after": 1001}


INVALID_PAGES = {
    "shape": [
        *(lambda page, content=content: content for content in (None, [], {}, "", 7, True, [["results", []]])),
        *(without(name) for name in ("results", "next_after", "more")),
        *(with_page(results=results) for results in (None, {}, "ab", 7, [None], [[]], [1001], ["nora"], {"1001": {}})),
        *(with_page(more=more) for more in (None, 0, 1, "false", "", [])),
    ],
    "positions": [
        *(
            with_page(next_after=value)
            for value in (1000, 1001, 1003, 0, -1, 2**63, 1002.0, "1002", None, True, [1002])
        ),
        *(with_page(results=[], next_after=value) for value in (999, 1001, 1000.0)),
        with_page(results=[], next_after=1000, more=True),
        *(with_row(position=value) for value in (1000, 999, 0, -1, 1002, 1003, 2**63, 1001.0, "1001", None, True)),
        backwards,
        rows_without("position"),
    ],
    "rows": [
        *(with_row(id=value) for value in (103, 0, -102, 2**63, "102", None, True)),
        *(with_row(id=value, user=None) for value in (0, -102, 2**63, "102", None, True, [102])),
        *(with_row(user=value) for value in (False, 7, "", "alice", [], [102], {})),
        *(rows_without(name) for name in ("id", "user")),
        one_account_twice,
    ],
    "accounts": [
        *(with_user(id=value) for value in (103, "102", None, True, 102.5)),
        *(with_user(role=value) for value in ("root", "Admin", None)),
        *(with_user(username=value) for value in ("", "ali\0ce", "\ud800", None)),
        *(with_user(email=value) for value in ("\0", "\ud800@tm.example", None)),
        *(with_user(is_active=value) for value in (1, "true", None)),
        *(with_user(epoch=value, least_epoch=value) for value in (-1, 2**63, 1.5, True)),
    ],
}


@pytest.mark.parametrize("mutations", INVALID_PAGES.values(), ids=INVALID_PAGES)
def test_an_invalid_page_changes_nothing(alice, bob, user_service, mutations):
    alice.raise_request_exception = False  # a 500 is a response too
    user_service.change(alice, username="alicia")
    user_service.change(bob, username="robert")
    valid, known, accepted = user_service.feed_after(1000), directory(), []

    for page in (break_page(valid) for break_page in mutations):
        user_service.reaction = lambda call, page=page: call.answer(page)
        set_feed_age(seconds_ago=60)
        status = alice.get(LIST).status_code
        read = Feed.objects.get()
        if (status, directory(), read.position, read.pulled_at < read.tried_at) != (200, known, 1000, True):
            accepted.append((status, page))
            restore(known)

    assert len(user_service.pulls) == len(mutations)
    assert accepted == []


def restore(known):
    for values in known:
        User.objects.filter(pk=values["id"]).update(**values)
    Feed.objects.update(position=1000)


def html(call):
    call.answer(b"<!doctype html><h1>Hello</h1>", Content_Type="text/html")


def not_utf_8(call):
    call.answer(b'{"results": [], "next_after": 1000, "more": "\xff"}')


def a_key_twice(call):
    call.answer(b'{"results": [], "next_after": 1000, "more": true, "more": false}')


def server_error(call):
    call.answer(valid_page(call), status=500)


def another_success(call):
    call.answer(valid_page(call), status=203)


def ten_megabytes(call):
    call.answer(json.dumps(valid_page(call)).encode() + b" " * 10_000_000)


def ten_megabytes_compressed(call):
    content = json.dumps(valid_page(call)).encode() + b" " * 10_000_000
    call.answer(gzip.compress(content, 1), Content_Encoding="gzip")


def hangs_up_in_the_middle(call):
    body = json.dumps(valid_page(call)).encode()
    call.send_raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:-9])


def valid_page(call):
    return call.server.feed_after(1000)


def test_an_invalid_response_changes_nothing(alice, user_service, another_server):
    def redirect(call):
        call.answer(b"", status=302, Location=another_server.url + call.path)

    user_service.change(alice, username="alicia")
    another_server.change(alice, username="alicia")
    known = directory()

    for reaction in (
        *(html, not_utf_8, a_key_twice, server_error, another_success, ten_megabytes, ten_megabytes_compressed),
        *(hangs_up_in_the_middle, redirect),
    ):
        user_service.reaction = reaction
        set_feed_age(seconds_ago=60)
        status = alice.get(LIST).status_code

        assert (status, directory(), Feed.objects.get().position) == (200, known, 1000), reaction.__name__

    assert another_server.calls == []
