"""The rate limits of this service, for known, new and changed callers."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from chassis.models import Window
from chassis.testing.limiting import Limit, read_limit, read_limits, read_retry_after, set_limits
from directory.models import User
from tasks.models import Task
from tests.conftest import Person, add_to_directory, set_feed_age

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

SERVICE = Path(__file__).resolve().parent.parent
LIST = "/task/tasks/"
NEW = {"title": "Water the plants"}
USUAL = {"admin": "10/min", "user": "10/min", "anon": "5/min", "signup": "60/min"}


@pytest.fixture(autouse=True)
def _usual_limits(settings):
    set_limits(settings, **USUAL)


@pytest.fixture
def stranger():
    return APIClient()


def statuses(number, call, *arguments, **options):
    return [call(*arguments, **options).status_code for _ in range(number)]


def advance_time(**duration):
    Window.objects.update(ends_at=F("ends_at") - timedelta(**duration))


def counts():
    return dict(Window.objects.values_list("key", "requests"))


def update_directory(person, **values):
    User.objects.filter(pk=person.id).update(**values)


def test_it_works(alice):
    answers = [alice.get(LIST) for _ in range(12)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert [read_limit(answer).left for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert read_limit(answers[0]) == Limit("user", quota=10, window=60, left=9, ends_in=60)
    assert 58 <= read_retry_after(answers[11]) <= 60


def test_the_gateway_secret_separates_clients_behind_a_proxy(settings, stranger):
    settings.GATEWAY_SECRET = "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5"
    edge = {"REMOTE_ADDR": "198.51.100.9"}

    def ask(client, secret):
        return stranger.get(LIST, headers={"X-Gateway-Secret": secret, "X-Gateway-Client": client}, **edge)

    first = statuses(7, ask, "203.0.113.1", settings.GATEWAY_SECRET)
    second = statuses(7, ask, "203.0.113.2", settings.GATEWAY_SECRET)
    neighbour = [ask(f"203.0.113.{number}", "guessed").status_code for number in range(10, 17)]

    assert first == second == neighbour == [401] * 5 + [429] * 2


def test_admins_and_users_are_counted_separately(ada, alice, stranger):
    assert statuses(12, ada.post, LIST, NEW) == [201] * 10 + [429] * 2
    assert statuses(12, alice.get, LIST) == [200] * 10 + [429] * 2
    assert statuses(7, stranger.get, LIST) == [401] * 5 + [429] * 2
    assert Task.objects.count() == 10


def test_a_caller_over_the_limit_does_not_affect_others(ada, alice, bob, stranger):
    statuses(11, alice.get, LIST)
    statuses(6, stranger.get, LIST)

    assert alice.get(LIST).status_code == stranger.get(LIST).status_code == 429
    assert bob.get(LIST).status_code == 200
    assert ada.get(LIST).status_code == 200
    assert stranger.get(LIST, REMOTE_ADDR="192.0.2.7").status_code == 401


def test_the_limit_resets_after_a_minute(alice):
    statuses(30, alice.get, LIST)
    advance_time(seconds=30)
    assert 0 < read_retry_after(alice.get(LIST)) <= 30

    advance_time(seconds=30)

    assert statuses(11, alice.get, LIST) == [200] * 10 + [429]


def test_a_request_after_retry_after_is_served(settings, alice):
    set_limits(settings, user="2/min")
    first = statuses(2, alice.get, LIST)

    rejected = alice.get(LIST)
    advance_time(seconds=read_retry_after(rejected))

    assert first + statuses(1, alice.get, LIST) == [200, 200, 200]


REJECTED = {
    "400": lambda user: user.get(f"{LIST}?x=1"),
    "401": lambda user: APIClient().get(LIST, headers={"Authorization": "Bearer nonsense"}),
    "403": lambda user: user.post(LIST, NEW),
    "404": lambda user: user.get(f"{LIST}999999999/"),
    "405": lambda user: user.put(LIST, NEW),
    "415": lambda user: user.generic("POST", f"{LIST}bulk/", b"{}", content_type="text/plain"),
}


@pytest.mark.parametrize("status", REJECTED)
def test_rejected_requests_are_counted(settings, ada, alice, status):
    set_limits(settings, admin="2/min", user="2/min", anon="2/min")
    caller = ada if status in ("405", "415") else alice  # a user gets 403 instead

    answers = [REJECTED[status](caller) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [int(status)] * 2 + [429]
    assert [read_limit(answer).left for answer in answers] == [1, 0, 0]


def test_health_and_metrics_are_never_counted(settings, stranger):
    settings.METRICS_TOKEN = "prometheus-may-read-this-0123456789"
    signed_in = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}

    for _ in range(12):
        answers = [stranger.get(path, headers=signed_in) for path in ("/task/health/live/", "/metrics/")]
        answers.append(stranger.get("/task/health/ready/"))
        assert [answer.status_code for answer in answers] == [200] * 3
        assert [read_limits(answer) for answer in answers] == [[]] * 3
    assert counts() == {}


def test_a_disabled_limit_counts_nothing(settings, alice, stranger):
    set_limits(settings, **USUAL | {"user": None})

    answers = [alice.get(LIST) for _ in range(12)]

    assert {answer.status_code for answer in answers} == {200}
    assert [read_limits(answer) for answer in answers] == [[]] * 12
    assert read_limit(stranger.get(LIST)).left == 4
    assert counts() == {"address 127.0.0.1": 1}


# Tokens that differ from the directory

REVOKED = {
    "deactivated": {"is_active": False},
    "deleted": {"is_active": False, "is_deleted": True},
    "all sessions ended": {"epoch": 1, "least_epoch": 1},
}


@pytest.mark.parametrize("values", REVOKED.values(), ids=REVOKED)
def test_a_revoked_token_counts_as_anonymous(alice, charlie, stranger, values, user_service):
    update_directory(alice, **values)
    callers = (alice, charlie, stranger, alice, charlie, alice, stranger)

    answers = [each.get(LIST) for each in callers]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert counts() == {"address 127.0.0.1": 7}


@pytest.mark.parametrize(("before", "after"), [("user", "admin"), ("admin", "user")])
def test_the_current_role_decides_the_limit(settings, directory, before, after):
    set_limits(settings, admin="9/min", user="2/min")
    rita = add_to_directory(Person(107, "rita", role=before))
    first = read_limit(rita.get(LIST))

    update_directory(rita, role=after, epoch=1)

    quota = {"admin": 9, "user": 2}
    assert first == Limit(before, quota[before], 60, quota[before] - 1, 60)
    assert read_limit(rita.get(LIST)) == Limit(after, quota[after], 60, quota[after] - 2, 60)


def test_changes_read_by_a_request_apply_to_its_limit(settings, alice, user_service):
    set_limits(settings, admin="9/min", user="2/min")
    user_service.change(alice, role="admin", epoch=1)
    set_feed_age(seconds_ago=3)

    answer = alice.post(LIST, NEW)

    assert answer.status_code == 201
    assert read_limit(answer) == Limit("admin", 9, 60, 8, 60)
    assert counts() == {f"user {alice.id}": 1}


def test_a_demotion_read_by_a_request_applies_to_it(settings, ada, user_service):
    set_limits(settings, admin="9/min", user="2/min")
    statuses(3, ada.get, LIST)
    user_service.change(ada, role="user", epoch=1)
    set_feed_age(seconds_ago=3)

    assert (ada.get(LIST).status_code, counts()) == (429, {f"user {ada.id}": 4})


def test_a_new_caller_is_counted_from_the_first_request(newcomer, user_service):
    answers = [newcomer.get(LIST) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert [read_limit(answer).left for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert len(user_service.lookups) == 1


def test_a_token_newer_than_the_directory_is_counted_once(alice, user_service):
    user_service.change(alice, epoch=7, least_epoch=6)
    again = Person(alice.id, alice.username, epoch=7)

    assert [read_limit(again.get(LIST)).left for _ in range(3)] == [9, 8, 7]
    assert read_limit(alice.get(LIST)).scope == "anon"


def test_a_caller_unknown_to_both_services_is_anonymous(user_service):
    unknown = Person(106, "norman", role="admin")

    answers = [unknown.get(LIST) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}


def test_a_503_without_the_user_service_is_not_counted(newcomer, user_service):
    user_service.reaction = lambda call: call.answer(b"", status=500)

    assert statuses(6, newcomer.get, LIST) == [503] * 6
    assert counts() == {}


# Requests that are not counted


def test_ten_304s_are_not_counted(alice, create_task):
    path = f"{LIST}{create_task(assigned_to=alice.id).pk}/"
    tag = alice.get(path).headers["ETag"]

    answers = [alice.get(path, headers={"If-None-Match": tag}) for _ in range(20)]

    assert [answer.status_code for answer in answers] == [304] * 19 + [429]
    assert [read_limit(answer).left for answer in answers] == [9] * 10 + [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_a_304_for_any_tag_is_counted(alice):
    answers = [alice.get(f"{LIST}?search=water", headers={"If-None-Match": "*"}) for _ in range(12)]

    assert [answer.status_code for answer in answers] == [304] * 10 + [429] * 2


def test_a_repeated_request_is_counted_again(ada):
    key = {"Idempotency-Key": "k-1"}

    answers = [ada.post(LIST, NEW, headers=key) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [201] * 10 + [429]
    assert Task.objects.count() == 1


def test_a_429_can_be_repeated_with_the_same_key(ada):
    statuses(10, ada.get, LIST)
    key = {"Idempotency-Key": "k-1"}
    assert ada.post(LIST, NEW, headers=key).status_code == 429

    advance_time(minutes=1)

    assert ada.post(LIST, NEW, headers=key).status_code == 201


# Concurrency


@COMMITTING
def test_ten_of_twenty_concurrent_requests_pass(at_once, alice):
    answers = at_once(*[(alice.get, LIST)] * 20)

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 10
    assert sorted(read_limit(answer).left for answer in answers) == [0] * 11 + list(range(1, 10))


@COMMITTING
def test_five_of_twenty_anonymous_requests_pass(at_once, stranger):
    answers = at_once(*[(stranger.get, LIST)] * 20)

    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15


@COMMITTING
def test_ten_of_twenty_concurrent_posts_create_a_task(at_once, ada):
    answers = at_once(*[(ada.post, LIST, NEW)] * 20)

    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [429] * 10
    assert Task.objects.count() == 10


@COMMITTING
def test_concurrent_requests_of_a_new_caller_share_a_limit(at_once, newcomer, user_service):
    answers = at_once(*[(newcomer.get, LIST)] * 20)

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 10


# Cost


def statements(call, *arguments, **options):
    with CaptureQueriesContext(connection) as captured:
        answer = call(*arguments, **options)
    return answer.status_code, len(captured)


def test_counting_a_known_caller_takes_no_extra_statement(settings, alice):
    set_limits(settings, user=None)
    uncounted = statements(alice.get, LIST)
    set_limits(settings, user="1/min")

    tag = alice.get(LIST).headers["ETag"]
    advance_time(minutes=1)

    assert uncounted == statements(alice.get, LIST) == (200, 2)
    assert statements(alice.get, LIST) == (429, 1)
    advance_time(minutes=1)
    assert statements(alice.get, LIST, headers={"If-None-Match": tag}) == (304, 3)


def test_an_invalid_limit_prevents_the_start():
    argv = [sys.executable, "manage.py", "check"]
    given = os.environ | {"THROTTLE_USER": "10/week"}

    done = subprocess.run(argv, cwd=SERVICE, env=given, capture_output=True, text=True, check=False)

    sentence = "THROTTLE_USER must be a rate such as 10/min (or /sec, /hour, /day), or off, not '10/week'."
    assert (done.returncode, done.stderr) == (78, f"task_service: {sentence}\n")
