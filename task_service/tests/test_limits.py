"""What a caller of this service may ask in a minute, however the directory came to know them."""

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
from tests.conftest import Person, feed_read, known

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


def let_pass(**duration):
    Window.objects.update(ends_at=F("ends_at") - timedelta(**duration))


def counts():
    return dict(Window.objects.values_list("key", "requests"))


def known_as(person, **values):
    User.objects.filter(pk=person.id).update(**values)


def test_it_works(alice):
    answers = [alice.get(LIST) for _ in range(12)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert [read_limit(answer).left for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert read_limit(answers[0]) == Limit("user", quota=10, window=60, left=9, ends_in=60)
    assert 58 <= read_retry_after(answers[11]) <= 60


def test_behind_a_shared_proxy_the_secret_tells_clients_apart(settings, stranger):
    settings.GATEWAY_SECRET = "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5"
    edge = {"REMOTE_ADDR": "198.51.100.9"}

    def ask(client, secret):
        return stranger.get(LIST, headers={"X-Gateway-Secret": secret, "X-Gateway-Client": client}, **edge)

    first = statuses(7, ask, "203.0.113.1", settings.GATEWAY_SECRET)
    second = statuses(7, ask, "203.0.113.2", settings.GATEWAY_SECRET)
    neighbour = [ask(f"203.0.113.{number}", "guessed").status_code for number in range(10, 17)]

    assert first == second == neighbour == [401] * 5 + [429] * 2


def test_admins_are_counted_like_users_and_apart_from_them(ada, alice, stranger):
    assert statuses(12, ada.post, LIST, NEW) == [201] * 10 + [429] * 2
    assert statuses(12, alice.get, LIST) == [200] * 10 + [429] * 2
    assert statuses(7, stranger.get, LIST) == [401] * 5 + [429] * 2
    assert Task.objects.count() == 10


def test_one_who_is_used_up_leaves_all_others_alone(ada, alice, bob, stranger):
    statuses(11, alice.get, LIST)
    statuses(6, stranger.get, LIST)

    assert alice.get(LIST).status_code == stranger.get(LIST).status_code == 429
    assert bob.get(LIST).status_code == 200
    assert ada.get(LIST).status_code == 200
    assert stranger.get(LIST, REMOTE_ADDR="192.0.2.7").status_code == 401


def test_after_a_minute_it_goes_on(alice):
    statuses(30, alice.get, LIST)
    let_pass(seconds=30)
    assert 0 < read_retry_after(alice.get(LIST)) <= 30

    let_pass(seconds=30)

    assert statuses(11, alice.get, LIST) == [200] * 10 + [429]


def test_a_request_after_retry_after_is_served(settings, alice):
    set_limits(settings, user="2/min")
    first = statuses(2, alice.get, LIST)

    refused = alice.get(LIST)
    let_pass(seconds=read_retry_after(refused))

    assert first + statuses(1, alice.get, LIST) == [200, 200, 200]


REFUSED = {
    "400": lambda user: user.get(f"{LIST}?x=1"),
    "401": lambda user: APIClient().get(LIST, headers={"Authorization": "Bearer nonsense"}),
    "403": lambda user: user.post(LIST, NEW),
    "404": lambda user: user.get(f"{LIST}999999999/"),
    "405": lambda user: user.put(LIST, NEW),
    "415": lambda user: user.generic("POST", f"{LIST}bulk/", b"{}", content_type="text/plain"),
}


@pytest.mark.parametrize("status", REFUSED)
def test_what_is_refused_is_counted(settings, ada, alice, status):
    set_limits(settings, admin="2/min", user="2/min", anon="2/min")
    caller = ada if status in ("405", "415") else alice  # a user is told 403 before

    answers = [REFUSED[status](caller) for _ in range(3)]

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


def test_a_limit_that_is_off_counts_nothing_and_says_nothing(settings, alice, stranger):
    set_limits(settings, **USUAL | {"user": None})

    answers = [alice.get(LIST) for _ in range(12)]

    assert {answer.status_code for answer in answers} == {200}
    assert [read_limits(answer) for answer in answers] == [[]] * 12
    assert read_limit(stranger.get(LIST)).left == 4
    assert counts() == {"address 127.0.0.1": 1}


# Who is not as the token says

ENDED = {
    "deactivated": {"is_active": False},
    "deleted": {"is_active": False, "is_deleted": True},
    "all sessions ended": {"epoch": 1, "least_epoch": 1},
}


@pytest.mark.parametrize("values", ENDED.values(), ids=ENDED)
def test_a_token_whose_rights_have_ended_counts_as_anonymous(alice, charlie, stranger, values, user_service):
    known_as(alice, **values)
    callers = (alice, charlie, stranger, alice, charlie, alice, stranger)

    answers = [each.get(LIST) for each in callers]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert counts() == {"address 127.0.0.1": 7}


@pytest.mark.parametrize(("before", "after"), [("user", "admin"), ("admin", "user")])
def test_the_role_of_now_decides_whatever_the_token_says(settings, directory, before, after):
    set_limits(settings, admin="9/min", user="2/min")
    rita = known(Person(107, "rita", role=before))
    first = read_limit(rita.get(LIST))

    known_as(rita, role=after, epoch=1)

    quota = {"admin": 9, "user": 2}
    assert first == Limit(before, quota[before], 60, quota[before] - 1, 60)
    assert read_limit(rita.get(LIST)) == Limit(after, quota[after], 60, quota[after] - 2, 60)


def test_news_that_a_request_itself_reads_hold_for_it(settings, alice, user_service):
    set_limits(settings, admin="9/min", user="2/min")
    user_service.changes(alice, role="admin", epoch=1)
    feed_read(seconds_ago=3)

    answer = alice.post(LIST, NEW)

    assert answer.status_code == 201
    assert read_limit(answer) == Limit("admin", 9, 60, 8, 60)
    assert counts() == {f"user {alice.id}": 1}


def test_who_is_demoted_by_news_that_a_request_reads_is_judged_as_a_user(settings, ada, user_service):
    set_limits(settings, admin="9/min", user="2/min")
    statuses(3, ada.get, LIST)
    user_service.changes(ada, role="user", epoch=1)
    feed_read(seconds_ago=3)

    assert (ada.get(LIST).status_code, counts()) == (429, {f"user {ada.id}": 4})


def test_who_is_new_here_is_counted_from_the_first_request_on(newcomer, user_service):
    answers = [newcomer.get(LIST) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert [read_limit(answer).left for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert len(user_service.look_ups) == 1


def test_a_token_newer_than_the_directory_is_counted_once(alice, user_service):
    user_service.changes(alice, epoch=7, least_epoch=6)
    again = Person(alice.id, alice.username, epoch=7)

    assert [read_limit(again.get(LIST)).left for _ in range(3)] == [9, 8, 7]
    assert read_limit(alice.get(LIST)).scope == "anon"


def test_somebody_of_whom_nobody_knows_counts_as_anonymous(user_service):
    nobody = Person(106, "norman", role="admin")

    answers = [nobody.get(LIST) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}


def test_a_503_without_the_user_service_is_not_counted(newcomer, user_service):
    user_service.reaction = lambda call: call.answer(b"", status=500)

    assert statuses(6, newcomer.get, LIST) == [503] * 6
    assert counts() == {}


# What is given back


def test_what_has_not_changed_is_given_back_ten_times(alice, a_task):
    path = f"{LIST}{a_task(assigned_to=alice.id).pk}/"
    tag = alice.get(path).headers["ETag"]

    answers = [alice.get(path, headers={"If-None-Match": tag}) for _ in range(20)]

    assert [answer.status_code for answer in answers] == [304] * 19 + [429]
    assert [read_limit(answer).left for answer in answers] == [9] * 10 + [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_a_search_for_any_tag_is_counted_though_it_is_a_304(alice):
    answers = [alice.get(f"{LIST}?search=water", headers={"If-None-Match": "*"}) for _ in range(12)]

    assert [answer.status_code for answer in answers] == [304] * 10 + [429] * 2


def test_a_repeated_request_is_counted_again(ada):
    key = {"Idempotency-Key": "k-1"}

    answers = [ada.post(LIST, NEW, headers=key) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [201] * 10 + [429]
    assert Task.objects.count() == 1


def test_what_was_refused_by_the_limit_is_done_when_it_comes_again(ada):
    statuses(10, ada.get, LIST)
    key = {"Idempotency-Key": "k-1"}
    assert ada.post(LIST, NEW, headers=key).status_code == 429

    let_pass(minutes=1)

    assert ada.post(LIST, NEW, headers=key).status_code == 201


# Many at once


@COMMITTING
def test_of_twenty_at_once_ten_are_let_in(at_once, alice):
    answers = at_once(*[(alice.get, LIST)] * 20)

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 10
    assert sorted(read_limit(answer).left for answer in answers) == [0] * 11 + list(range(1, 10))


@COMMITTING
def test_of_twenty_strangers_of_one_address_at_once_five_are_heard(at_once, stranger):
    answers = at_once(*[(stranger.get, LIST)] * 20)

    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15


@COMMITTING
def test_of_twenty_tasks_at_once_ten_are_made(at_once, ada):
    answers = at_once(*[(ada.post, LIST, NEW)] * 20)

    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [429] * 10
    assert Task.objects.count() == 10


@COMMITTING
def test_somebody_new_with_many_requests_at_once_has_one_limit(at_once, newcomer, user_service):
    answers = at_once(*[(newcomer.get, LIST)] * 20)

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 10


# What it costs


def statements(call, *arguments, **options):
    with CaptureQueriesContext(connection) as captured:
        answer = call(*arguments, **options)
    return answer.status_code, len(captured)


def test_to_count_a_known_caller_takes_no_statement_more(settings, alice):
    set_limits(settings, user=None)
    uncounted = statements(alice.get, LIST)
    set_limits(settings, user="1/min")

    tag = alice.get(LIST).headers["ETag"]
    let_pass(minutes=1)

    assert uncounted == statements(alice.get, LIST) == (200, 2)
    assert statements(alice.get, LIST) == (429, 1)
    let_pass(minutes=1)
    assert statements(alice.get, LIST, headers={"If-None-Match": tag}) == (304, 3)


def test_a_limit_that_is_none_refuses_the_start_in_one_sentence():
    argv = [sys.executable, "manage.py", "check"]
    given = os.environ | {"THROTTLE_USER": "10/week"}

    done = subprocess.run(argv, cwd=SERVICE, env=given, capture_output=True, text=True, check=False)

    sentence = "THROTTLE_USER must be a rate such as 10/min (or /sec, /hour, /day), or off, not '10/week'."
    assert (done.returncode, done.stderr) == (78, f"task_service: {sentence}\n")
