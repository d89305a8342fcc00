import json

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from chassis import health

pytestmark = pytest.mark.django_db


def ask(*concerns):
    answer = health.ready(RequestFactory().get("/ready/"), lambda: concerns)
    return answer.status_code, json.loads(answer.content)


def reading(old, new):
    """Let the database read something else than it was sent."""

    def execute(run, sql, params, many, context):
        return run(sql.replace(old, new), params, many, context)

    return connection.execute_wrapper(execute)


def clock_off_by(interval):
    return reading("clock_timestamp()", f"clock_timestamp() + interval '{interval}'")


def test_it_works():
    assert ask() == (200, {"status": "ok"})


def test_what_is_late_is_told():
    assert ask("A mail waits.") == (200, {"status": "degraded", "because": ["A mail waits."]})


@pytest.mark.parametrize("interval", ["45 s", "-45 s"])
def test_clocks_that_are_apart_degrade(interval):
    with clock_off_by(interval):
        status, body = ask("A mail waits.")

    assert (status, body["status"]) == (200, "degraded")
    apart = "The clocks of this machine and of the database are 45 seconds apart; does each follow a time server?"
    assert body["because"] == [apart, "A mail waits."]


@pytest.mark.parametrize("interval", ["29 s", "-29 s"])
def test_clocks_that_are_nearly_the_same_are_well(interval):
    with clock_off_by(interval):
        assert ask() == (200, {"status": "ok"})


def test_a_slow_database_is_no_wrong_clock(monkeypatch):
    monkeypatch.setattr(health, "MOST_CLOCK_DIFFERENCE", health.timedelta(0))

    with reading(", clock_timestamp()", ", (SELECT clock_timestamp() FROM pg_sleep(0.3))"):
        assert ask() == (200, {"status": "ok"})


def test_a_superuser_is_refused():
    with reading("rolsuper,", "true,"):
        status, body = ask()

    assert (status, body["code"]) == (503, "not_ready")
    assert "superuser" in body["detail"]


def test_one_statement_asks_for_role_and_clock():
    with CaptureQueriesContext(connection) as captured:
        ask()

    assert sum("pg_roles" in query["sql"] or "clock" in query["sql"] for query in captured) == 1
    assert len(captured) <= 3  # the others are of the migrations
