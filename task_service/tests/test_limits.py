"""The rate limits of this service, for known, new and changed callers."""

from functools import partial

import pytest
from rest_framework.test import APIClient

from chassis.models import Window
from chassis.testing import clock
from chassis.testing.limiting import Limit, read_limit, read_limits, read_retry_after, set_limits
from directory.models import User
from tasks.models import Task
from tests.conftest import TASKS, Person, add_to_directory, set_feed_age
from tests.test_statements import statements

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

NEW = {"title": "Water the plants"}


@pytest.fixture(autouse=True)
def _usual_limits(settings):
    set_limits(settings, admin="10/min", user="10/min", anon="5/min", signup="60/min")


@pytest.fixture
def stranger():
    return APIClient()


def statuses(number, call, *arguments, **options):
    return [call(*arguments, **options).status_code for _ in range(number)]


advance_time = partial(clock.advance_time, Window)


def counts():
    return dict(Window.objects.values_list("key", "requests"))


def update_directory(person, **values):
    User.objects.filter(pk=person.id).update(**values)


def test_it_works(alice):
    answers = [alice.get(TASKS) for _ in range(12)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert [read_limit(answer).left for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert read_limit(answers[0]) == Limit("user", quota=10, window=60, left=9, ends_in=60)
    assert read_retry_after(answers[11]) <= 60


def test_each_caller_has_a_separate_count(ada, alice, bob, stranger):
    assert statuses(12, ada.post, TASKS, NEW) == [201] * 10 + [429] * 2
    assert statuses(12, alice.get, TASKS) == [200] * 10 + [429] * 2
    assert statuses(7, stranger.get, TASKS) == [401] * 5 + [429] * 2
    assert (bob.get(TASKS).status_code, stranger.get(TASKS, REMOTE_ADDR="192.0.2.7").status_code) == (200, 401)
    assert Task.objects.count() == 10


def test_forbidden_and_missing_are_counted(alice):
    answers = [alice.post(TASKS, NEW), alice.get(f"{TASKS}999999999/")]

    assert [(answer.status_code, read_limit(answer).left) for answer in answers] == [(403, 9), (404, 8)]


def test_health_and_metrics_are_never_counted(settings, stranger):
    settings.METRICS_TOKEN = "prometheus-may-read-this-0123456789"
    signed_in = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}

    answers = [stranger.get(path, headers=signed_in) for path in ("/task/health/live/", "/metrics/")]
    answers.append(stranger.get("/task/health/ready/"))

    assert [(answer.status_code, read_limits(answer)) for answer in answers] == [(200, [])] * 3
    assert counts() == {}


# Tokens that differ from the directory

REVOKED = {
    "deactivated": {"is_active": False},
    "deleted": {"is_active": False, "is_deleted": True},
    "all sessions ended": {"epoch": 1, "min_valid_epoch": 1},
}


@pytest.mark.parametrize("values", REVOKED.values(), ids=REVOKED)
def test_a_revoked_token_counts_as_anonymous(alice, charlie, stranger, values, user_service):
    update_directory(alice, **values)
    callers = (alice, charlie, stranger, alice, charlie, alice, stranger)

    answers = [each.get(TASKS) for each in callers]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert counts() == {"address 127.0.0.1": 7}


@pytest.mark.parametrize(("before", "after"), [("user", "admin"), ("admin", "user")])
def test_the_current_role_decides_the_limit(settings, directory, before, after):
    set_limits(settings, admin="9/min", user="2/min")
    rita = add_to_directory(Person(107, "rita", role=before))
    first = read_limit(rita.get(TASKS))

    update_directory(rita, role=after, epoch=1)

    quota = {"admin": 9, "user": 2}
    assert first[:4] == (before, quota[before], 60, quota[before] - 1)
    assert read_limit(rita.get(TASKS))[:4] == (after, quota[after], 60, quota[after] - 2)


@pytest.mark.parametrize(("before", "after", "quota"), [("user", "admin", 9), ("admin", "user", 2)])
def test_a_new_role_read_by_a_request_applies_to_it(settings, ada, alice, user_service, before, after, quota):
    set_limits(settings, admin="9/min", user="2/min")
    person = {"admin": ada, "user": alice}[before]
    user_service.change(person, role=after, epoch=1)
    set_feed_age(seconds_ago=3)

    assert read_limit(person.get(TASKS))[:4] == (after, quota, 60, quota - 1)
    assert counts() == {f"user {person.id}": 1}


def test_a_new_caller_is_counted_from_the_first_request(newcomer, user_service):
    answers = [newcomer.get(TASKS) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert [read_limit(answer).left for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert len(user_service.lookups) == 1


def test_a_token_newer_than_the_directory_is_counted_once(alice, user_service):
    user_service.change(alice, epoch=7, min_valid_epoch=6)
    again = Person(alice.id, alice.username, epoch=7)

    assert [read_limit(again.get(TASKS)).left for _ in range(3)] == [9, 8, 7]
    assert read_limit(alice.get(TASKS)).scope == "anon"


def test_a_caller_unknown_to_both_services_is_anonymous(user_service):
    unknown = Person(106, "norman", role="admin")

    answers = [unknown.get(TASKS) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}


def test_a_503_without_the_user_service_is_not_counted(newcomer, user_service):
    user_service.reaction = lambda call: call.answer(b"", status=500)

    assert statuses(6, newcomer.get, TASKS) == [503] * 6
    assert counts() == {}


# Repeated requests


def test_a_replay_is_counted(ada):
    answers = [ada.post(TASKS, NEW, headers={"Idempotency-Key": "k-1"}) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [201] * 10 + [429]
    assert Task.objects.count() == 1


def test_a_429_can_be_repeated_with_the_same_key(ada):
    statuses(10, ada.get, TASKS)
    key = {"Idempotency-Key": "k-1"}
    assert ada.post(TASKS, NEW, headers=key).status_code == 429

    advance_time(minutes=1)

    assert ada.post(TASKS, NEW, headers=key).status_code == 201


@COMMITTING
def test_ten_of_twenty_concurrent_posts_create_a_task(at_once, ada):
    answers = at_once(*[(ada.post, TASKS, NEW)] * 20)

    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [429] * 10
    assert sorted(read_limit(answer).left for answer in answers) == [0] * 11 + list(range(1, 10))
    assert Task.objects.count() == 10


@COMMITTING
def test_concurrent_requests_of_a_new_caller_share_a_limit(at_once, newcomer, user_service):
    answers = at_once(*[(newcomer.get, TASKS)] * 20)

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 10


def test_counting_a_known_caller_takes_no_extra_statement(settings, alice, create_task):
    create_task(assigned_to=alice.id)
    set_limits(settings, user=None)
    _, uncounted = statements(alice.get, TASKS)
    set_limits(settings, user="1/min")
    tag = alice.get(TASKS)["ETag"]
    advance_time(minutes=1)

    served, counted = statements(alice.get, TASKS)
    rejected, refused = statements(alice.get, TASKS)
    advance_time(minutes=1)
    unchanged, refunded = statements(alice.get, TASKS, headers={"If-None-Match": tag})

    assert [answer.status_code for answer in (served, rejected, unchanged)] == [200, 429, 304]
    assert (uncounted, counted, refused, refunded) == (2, 2, 1, 3)
