"""Rate limits of the user service."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from chassis.auth.tokens import issue_service_token
from chassis.models import Window
from chassis.testing.limiting import Limit, read_limit, read_limits, read_retry_after, set_limits
from tests.conftest import Client, read_counts, statuses

pytestmark = pytest.mark.django_db

SERVICE = Path(__file__).resolve().parent.parent
ME = "/user/me/"
USUAL = {"admin": "10/min", "user": "10/min", "anon": "5/min", "signup": "60/min"}


@pytest.fixture(autouse=True)
def _usual_limits(settings):
    set_limits(settings, **USUAL)


def read_me(client, number, **options):
    return [client.get(ME, **options) for _ in range(number)]


def pass_time(**duration):
    Window.objects.update(ends_at=F("ends_at") - timedelta(**duration))


def test_ten_requests_a_minute_are_served(client_of, alice):
    answers = read_me(client_of(alice), 12)

    assert statuses(answers) == [200] * 10 + [429] * 2
    assert [read_limit(answer).left for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert read_limit(answers[0]) == Limit("user", quota=10, window=60, left=9, ends_in=60)
    assert 0 < read_retry_after(answers[11]) <= 60


def test_each_role_has_its_own_limit(settings, client_of, client, ada, alice):
    set_limits(settings, **USUAL | {"admin": "4/min", "user": "3/min", "anon": "2/min"})

    scopes = [read_limit(each.get(ME))[:4] for each in (client_of(ada), client_of(alice), client)]

    assert scopes == [("admin", 4, 60, 3), ("user", 3, 60, 2), ("anon", 2, 60, 1)]


def test_an_exhausted_caller_does_not_affect_others(client_of, client, ada, alice, bob):
    exhausted = client_of(alice)
    read_me(exhausted, 10)
    read_me(client, 5)

    assert statuses(each.get(ME) for each in (exhausted, client)) == [429, 429]
    assert statuses(client_of(each).get(ME) for each in (bob, ada)) == [200, 200]
    assert Client().get(ME, REMOTE_ADDR="192.0.2.7").status_code == 401


def test_a_request_after_retry_after_is_served(client_of, alice):
    caller = client_of(alice)
    refused = read_me(caller, 11)[-1]

    pass_time(seconds=read_retry_after(refused))

    assert statuses(read_me(caller, 11)) == [200] * 10 + [429]


def test_an_invalid_token_counts_as_anonymous(client_of, client, alice, bob):
    deactivated, signed_out, nonsense = client_of(bob), client_of(alice), Client()
    bob.change(is_active=False)
    alice.sign_out_everywhere()
    nonsense.set_tokens("a.b.c")

    answers = [each.get(ME) for each in [deactivated, signed_out, nonsense, client, deactivated, client, signed_out]]

    assert statuses(answers) == [401] * 5 + [429] * 2
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert read_counts() == {"address 127.0.0.1": 7}


@pytest.mark.parametrize(("before", "after"), [("user", "admin"), ("admin", "user")])
def test_the_current_role_decides_not_the_token(settings, client_of, person, before, after):
    set_limits(settings, admin="9/min", user="2/min")
    rita = person("Rita", role=before)
    caller = client_of(rita)
    first = read_limit(caller.get(ME))

    User.objects.filter(pk=rita.pk).update(role=after)

    quota = {"admin": 9, "user": 2}
    assert first[:4] == (before, quota[before], 60, quota[before] - 1)
    assert read_limit(caller.get(ME))[:4] == (after, quota[after], 60, quota[after] - 2)


@pytest.mark.parametrize("off", ["user", "anon"])
def test_a_disabled_limit_affects_only_its_role(settings, client_of, client, alice, off):
    set_limits(settings, **USUAL | {off: None})

    answers = {"user": client_of(alice).get(ME), "anon": client.get(ME)}

    assert read_limits(answers.pop(off)) == []
    assert [read_limit(answer).scope for answer in answers.values()] == list(answers)
    assert len(read_counts()) == 1


def test_a_304_is_not_counted(client_of, alice):
    caller = client_of(alice)
    tag = caller.get(ME).headers["ETag"]

    answers = read_me(caller, 10, headers={"If-None-Match": tag})

    assert statuses(answers) == [304] * 10
    assert {read_limit(answer).left for answer in answers} == {9}
    assert read_counts() == {f"user {alice.pk}": 1}


def test_health_metrics_and_services_are_not_limited(settings, client):
    settings.METRICS_TOKEN = "prometheus-may-read-this-0123456789"
    service = Client()
    service.set_tokens(issue_service_token("task_service"))

    answers = [
        client.get("/user/health/live/"),
        client.get("/user/health/ready/"),
        client.get("/metrics/", headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"}),
        service.get("/internal/users/?ids=1"),
        service.get("/internal/users/changes/"),
        client.get("/internal/users/?ids=1"),
    ]

    assert statuses(answers) == [200] * 5 + [401]
    assert [read_limits(answer) for answer in answers] == [[]] * 6
    assert read_counts() == {}


@pytest.mark.django_db(transaction=True)
def test_ten_of_thirty_parallel_requests_are_served(client_of, at_once, alice):
    sessions = [client_of(alice) for _ in range(3)]

    answers = at_once(*(lambda each=each: each.get(ME) for each in sessions * 10))

    assert sorted(statuses(answers)) == [200] * 10 + [429] * 20
    assert sorted(read_limit(answer).left for answer in answers) == [0] * 21 + list(range(1, 10))


def statements(client, **options):
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(ME, **options)
    return answer.status_code, len(captured)


def test_counting_a_known_caller_needs_no_extra_statement(settings, client_of, alice):
    caller = client_of(alice)
    set_limits(settings, user=None)
    uncounted = statements(caller)
    set_limits(settings, user="1/min")

    tag = caller.get(ME).headers["ETag"]
    pass_time(minutes=1)

    assert uncounted == statements(caller) == (200, 2)
    assert statements(caller) == (429, 1)
    pass_time(minutes=1)
    assert statements(caller, headers={"If-None-Match": tag}) == (304, 3)


RENAMED = "THROTTLE_NEWCOMERS is now called THROTTLE_SIGNUP; the next version will not read the old name."
NO_RATE = "user_service: {} must be a rate such as 10/min (or /sec, /hour, /day), or off, not '0/min'."


@pytest.mark.parametrize(
    ("environment", "status", "sentence"),
    [
        ({"THROTTLE_SIGNUP": "", "THROTTLE_NEWCOMERS": "7/min"}, 0, RENAMED),
        ({"THROTTLE_ADMIN": "0/min"}, 78, NO_RATE.format("THROTTLE_ADMIN")),
        ({"THROTTLE_SIGNUP": "0/min"}, 78, NO_RATE.format("THROTTLE_SIGNUP")),
    ],
)
def test_a_wrong_setting_gets_one_sentence_at_start(environment, status, sentence):
    command = [sys.executable, "manage.py", "check"]

    done = subprocess.run(command, cwd=SERVICE, env=os.environ | environment, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (status, f"{sentence}\n")
