"""Reading the feed of changed accounts: triggers, time limits and validation."""

from threading import Semaphore
from types import SimpleNamespace

import pytest
from django.db.models import Value
from django.utils import timezone
from rest_framework.test import APIClient

from chassis.auth import tokens
from directory import client, feed, models
from directory.deadline import Deadline
from directory.models import Feed, User
from tests.conftest import set_feed_age, stored_accounts, usernames

pytestmark = pytest.mark.django_db

LIST = "/task/tasks/"


# Triggers


def test_it_works(alice, bob, user_service):
    user_service.change(bob, username="robert", email="robert@tm.example", role="admin", epoch=2, min_valid_epoch=1)
    set_feed_age(seconds_ago=3)

    answer = alice.get(LIST, HTTP_X_REQUEST_ID="asked-by.Alice_1")

    (call,) = user_service.calls
    sent = tokens.verify_service(call.headers["Authorization"].removeprefix("Bearer "))
    assert answer.status_code == 200
    assert call.path == "/internal/users/changes/?after=1000"
    assert (sent.name, sent.on_behalf_of) == ("task_service", None)
    assert call.headers["X-Request-ID"] == "asked-by.Alice_1"
    facts = {"username": "robert", "email": "robert@tm.example", "role": "admin"}
    state = {"is_active": True, "is_deleted": False, "epoch": 2, "min_valid_epoch": 1, "position": 1001}
    assert User.objects.values().get(pk=bob.id) == {"id": bob.id} | facts | state
    read = Feed.objects.get()
    assert (read.position, read.pulled_at >= read.tried_at) == (1001, True)


@pytest.mark.parametrize(
    ("pull", "failed", "recent", "stale"),
    [
        (feed.pull_if_stale, False, 2, 2.001),
        (feed.pull_if_stale, True, 4, 4.001),
        (feed.pull_by_worker, False, 1, 1.001),
        (feed.pull_by_worker, True, 1, 1.001),
    ],
)
def test_a_stale_feed_is_read(user_service, monkeypatch, pull, failed, recent, stale):
    now = timezone.now()
    monkeypatch.setattr(models, "Now", lambda: Value(now))
    set_feed_age(seconds_ago=recent, failed=failed, now=now)
    pull()
    assert user_service.pulls == []

    set_feed_age(seconds_ago=stale, failed=failed, now=now)
    for _ in range(3):
        pull()

    assert user_service.pulls == [1000]


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

    assert (user_service.pulls, usernames()[alice.id]) == ([1000], "alice2")
    assert (Feed.objects.get().position, usernames()[bob.id], newcomer.id in usernames()) == (1001, "bob", False)

    set_feed_age(seconds_ago=3)
    feed.pull_by_worker()

    assert (user_service.pulls, Feed.objects.get().position) == ([1000, 1001, 1002], 1003)
    assert (usernames()[bob.id], usernames()[newcomer.id]) == ("bob2", "nora2")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("never_read", [True, False])
def test_one_of_many_concurrent_requests_reads_the_feed(alice, user_service, at_once, never_read):
    answered, in_time = Semaphore(0), []

    def answer_when_the_others_are_done(call):
        in_time.extend(answered.acquire(timeout=50) for _ in range(5))
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


@pytest.mark.parametrize(
    ("call", "seconds"),
    [(feed.pull_if_stale, 0.5), (feed.pull_by_worker, 2.0), (lambda: client.look_up(103, asked_by=101), 2.0)],
    ids=["request", "worker", "lookup"],
)
def test_all_attempts_share_one_deadline(directory, another_server, settings, monkeypatch, call, seconds):
    """test_directory_client.py shows that a call ends at its deadline."""
    deadlines = []

    class Recorded(Deadline):
        def __init__(self, seconds):
            deadlines.append(seconds)
            super().__init__(60)

    def hang_up(call):
        call.close_connection = True

    monkeypatch.setattr(client, "Deadline", Recorded)
    settings.USER_SERVICE_URL = another_server.url
    another_server.reactions = [hang_up]
    set_feed_age(seconds_ago=60)

    call()

    assert len(another_server.calls) == 2
    assert deadlines == [seconds]


# Validation


def account(id_, username, **values):
    facts = {"id": id_, "username": username, "email": f"{username}@tm.example", "role": "user", "is_active": True}
    return facts | {"epoch": 0, "min_valid_epoch": 0} | values


ALICIA, ROBERT = account(102, "alicia"), account(103, "robert")
FIRST, SECOND = {"position": 1001, "id": 102, "user": ALICIA}, {"position": 1002, "id": 103, "user": ROBERT}
PAGE = {"results": [FIRST, SECOND], "next_after": 1002, "more": False}


def without(name, values):
    return {key: value for key, value in values.items() if key != name}


def with_first(**values):
    return PAGE | {"results": [FIRST | values, SECOND]}


INVALID_PAGES = [
    *(None, [], {}, "", 7, True, [["results", []]]),
    *(without(name, PAGE) for name in PAGE),
    *(PAGE | {"results": results} for results in (None, {}, "ab", 7, [None], [[]], [1001], ["nora"], {"1001": {}})),
    *(PAGE | {"more": more} for more in (None, 0, 1, "false", "", [])),
    *(PAGE | {"next_after": value} for value in (1000, 1001, 1003, 0, -1, 2**63, 1002.0, "1002", None, True, [1002])),
    *(PAGE | {"results": [], "next_after": value} for value in (999, 1001, 1000.0)),
    PAGE | {"results": [], "next_after": 1000, "more": True},
    *(with_first(position=value) for value in (1000, 999, 0, -1, 1002, 1003, 2**63, 1001.0, "1001", None, True)),
    PAGE | {"results": [SECOND, FIRST], "next_after": 1001},
    *(PAGE | {"results": [without(name, FIRST), SECOND]} for name in FIRST),
    PAGE | {"results": [FIRST, FIRST | {"position": 1002}]},
    *(with_first(id=value) for value in (103, 0, "102", None)),
    *(with_first(id=value, user=None) for value in (0, 2**63, "102", None, True)),
    *(with_first(user=value) for value in (False, 7, "", "alice", [], [102], {})),
    *(with_first(user=ALICIA | {"id": value}) for value in (103, "102", None)),
    *(with_first(user=ALICIA | {"username": value}) for value in ("", "ali\0ce", "\ud800")),
    *(with_first(user=ALICIA | {"email": value}) for value in ("\0", "\ud800@tm.example")),
    with_first(user=ALICIA | {"role": "root"}),
]


def test_a_valid_page_is_applied(alice, bob, user_service):
    user_service.reaction = lambda call: call.answer(PAGE)
    set_feed_age(seconds_ago=60)

    alice.get(LIST)

    assert (usernames()[alice.id], usernames()[bob.id], Feed.objects.get().position) == ("alicia", "robert", 1002)


@pytest.mark.parametrize("page", INVALID_PAGES)
def test_an_invalid_page_changes_nothing(alice, user_service, page):
    known = stored_accounts()
    user_service.reaction = lambda call: call.answer(page)
    set_feed_age(seconds_ago=60)

    assert alice.get(LIST).status_code == 200
    read = Feed.objects.get()
    assert user_service.pulls == [1000]
    assert (stored_accounts(), read.position, read.pulled_at < read.tried_at) == (known, 1000, True)
