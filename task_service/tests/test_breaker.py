"""The circuit breaker: after repeated failures of the user service, requests do not wait for it."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Barrier, Event
from types import SimpleNamespace

import pytest

from directory import breaker, client, feed
from tests.conftest import Person, set_feed_age

pytestmark = pytest.mark.django_db

LIST = "/task/tasks/"


def server_error(call):
    call.answer(b"", status=500)


@pytest.fixture
def clock(monkeypatch):
    """Return a function that advances the clock of the breaker, which otherwise stands still."""
    now = [1000.0]
    monkeypatch.setattr(breaker, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def advance(seconds):
        now[0] += seconds

    return advance


def fail_lookups(times, person):
    """Make this many lookups fail."""
    assert [person.get(LIST).status_code for _ in range(times)] == [503] * times


@pytest.fixture(autouse=True)
def correct_reaction(user_service):
    """The reaction of a working user service. Until a test uses it, the service fails."""
    correct_reaction, user_service.reaction = user_service.reaction, server_error
    return correct_reaction


def test_after_two_failures_requests_fail_without_a_call(ada, alice, newcomer, user_service, clock):
    fail_lookups(2, newcomer)

    unknown, assigned = newcomer.get(LIST), ada.post(LIST, {"title": "Water", "assigned_to": newcomer.id})
    newer = Person(alice.id, "alice", epoch=1).get(LIST)
    without_lookup = [alice.get(LIST), ada.post(LIST, {"title": "Water", "assigned_to": alice.id})]

    assert [answer.status_code for answer in (unknown, assigned, newer)] == [503, 503, 200]
    assert {answer["Retry-After"] for answer in (unknown, assigned)} == {"2"}
    assert [answer.status_code for answer in without_lookup] == [200, 201]
    assert len(user_service.calls) == 2


def test_only_consecutive_failures_count(newcomer, user_service, correct_reaction):
    unknown = Person(106, "norman")
    for _ in range(3):
        fail_lookups(1, newcomer)
        user_service.reactions = [correct_reaction]
        assert unknown.get(LIST).status_code == 401  # a missing account is a valid response too

    assert len(user_service.calls) == 6


def test_one_trial_call_passes_every_two_seconds(newcomer, user_service, clock):
    fail_lookups(2, newcomer)
    for seconds, calls in [(1.9, 2), (0.1, 3), (1.9, 3), (0.1, 4)]:
        clock(seconds)
        fail_lookups(3, newcomer)
        assert len(user_service.calls) == calls


def test_a_success_closes_the_breaker(newcomer, user_service, correct_reaction, clock):
    fail_lookups(2, newcomer)
    clock(2)
    user_service.reactions = [correct_reaction]
    assert newcomer.get(LIST).status_code == 200

    others = [Person(id_, "norman") for id_ in (106, 107, 108)]
    assert [other.get(LIST).status_code for other in others] == [503, 503, 503]
    assert len(user_service.calls) == 5  # the first two were let through


def test_reading_the_feed_closes_the_breaker(alice, newcomer, user_service, correct_reaction, clock):
    fail_lookups(2, newcomer)
    user_service.reaction = correct_reaction
    set_feed_age(seconds_ago=5)

    assert [alice.get(LIST).status_code, newcomer.get(LIST).status_code] == [200, 200]
    assert (user_service.pulls, len(user_service.lookups)) == ([1000], 3)


def test_the_feed_opens_the_breaker_and_ignores_it(newcomer, user_service, clock):
    for _ in range(3):
        set_feed_age(seconds_ago=5)
        feed.pull_by_worker()

    fail_lookups(1, newcomer)
    assert (len(user_service.pulls), user_service.lookups) == (3, [])


def test_one_of_many_concurrent_requests_makes_the_trial_call(newcomer, user_service, clock):
    fail_lookups(2, newcomer)
    clock(2)
    barrier, others_are_done, in_time = Barrier(8), Event(), []

    def wait_for_the_others(call):
        in_time.append(others_are_done.wait(50))
        server_error(call)

    def look_up():
        barrier.wait(50)
        with pytest.raises(client.DirectoryUnavailable):
            client.look_up(newcomer.id, asked_by=newcomer.id)

    user_service.reaction = wait_for_the_others
    with ThreadPoolExecutor(8) as pool:
        for number, done in enumerate(as_completed([pool.submit(look_up) for _ in range(8)]), start=1):
            done.result()
            if number == 7:
                others_are_done.set()

    assert in_time == [True]
    assert len(user_service.calls) == 3
