import json
import re
import time
from unittest.mock import ANY

import pytest
from django.db import OperationalError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from chassis import refused_writes
from chassis.ops import checks, findings, health
from chassis.ops.checks import Check
from chassis.testing.limiting import set_limits

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def schema(monkeypatch):
    """A process that has not checked migrations yet."""
    monkeypatch.setattr(checks, "SCHEMA", checks.Schema())
    return checks.SCHEMA


def ask(*found, **meta):
    """Call readiness with a check for each finding."""
    degrading = [Check("mail", lambda each=each: each, degrades=("WRONG",)) for each in found]
    answer = health.ready(RequestFactory().get("/ready/", **meta), degrading)
    return answer.status_code, json.loads(answer.content)


LATE = findings.wrong("one waits")


def reading(old, new):
    """Change what the database reads."""

    def execute(run, sql, params, many, context):
        return run(sql.replace(old, new), params, many, context)

    return connection.execute_wrapper(execute)


def clock_off_by(interval):
    return reading("clock_timestamp()", f"clock_timestamp() + interval '{interval}'")


def test_it_works():
    assert ask() == (200, {"status": "ok"})


def test_a_late_mail_degrades():
    assert ask(LATE) == (200, {"status": "degraded", "reasons": ["mail: one waits"]})


@pytest.mark.parametrize("found", [findings.ok("none waits"), findings.unsure("one was dead-lettered")])
def test_a_finding_in_another_state_does_not_degrade(found):
    assert ask(found) == (200, {"status": "ok"})


def test_a_check_that_never_degrades_is_not_run():
    answer = health.ready(RequestFactory().get("/ready/"), [Check("role", lambda: pytest.fail("it was asked"))])

    assert json.loads(answer.content) == {"status": "ok"}


@pytest.fixture
def _well(monkeypatch):
    """No write is rejected before or after the test."""
    yield
    refused_writes.INSTANT.pack_into(refused_writes.MEMORY, 0, 0.0)


@pytest.mark.usefixtures("_well")
@pytest.mark.parametrize("sqlstate", ["53100", "25006"], ids=["disk full", "read-only"])
def test_a_rejected_write_degrades_for_a_minute(client, settings, monkeypatch, sqlstate):
    set_limits(settings, anon="5/min")

    def refuse(execute, sql, params, many, context):
        refused = f"DO $$ BEGIN RAISE EXCEPTION SQLSTATE '{sqlstate}'; END $$"
        return execute(refused, None, False, context) if "INSERT" in sql else execute(sql, params, many, context)

    with connection.execute_wrapper(refuse), transaction.atomic():
        answer = client.get("/echo/")
        transaction.set_rollback(True)
    status, body = ask()
    now = time.monotonic()
    monkeypatch.setattr(refused_writes.time, "monotonic", lambda: now + 61)

    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "The database cannot store anything at the moment; try again later.",
    )
    assert (status, body["status"]) == (200, "degraded")
    assert re.fullmatch(r"writes: the database rejected a write [0-9]+ s ago; .*disk full.*", body["reasons"][0])
    assert ask() == (200, {"status": "ok"})


@pytest.mark.parametrize("interval", ["45 s", "-45 s"])
def test_a_clock_difference_degrades(interval):
    with clock_off_by(interval):
        status, body = ask(LATE)

    assert (status, body["status"]) == (200, "degraded")
    apart = "clock: this machine's clock and the database's differ by 45.0 s; synchronize both with a time server"
    assert body["reasons"] == [apart, "mail: one waits"]


@pytest.mark.parametrize("interval", ["1 s", "-1 s"])
def test_a_small_clock_difference_is_ok(interval):
    with clock_off_by(interval):
        assert ask() == (200, {"status": "ok"})


def test_a_slow_database_is_not_a_clock_difference(monkeypatch):
    monkeypatch.setattr(findings, "UNSURE_CLOCK_SECONDS", 0)

    with reading("clock_timestamp()", "(SELECT clock_timestamp() FROM pg_sleep(0.3))"):
        assert ask() == (200, {"status": "ok"})


def test_a_superuser_is_not_ready():
    with reading("rolsuper,", "true,"):
        status, body = ask()

    assert (status, body["code"]) == (503, "not_ready")
    assert "superuser" in body["detail"]


def statements():
    with CaptureQueriesContext(connection) as captured:
        ask()
    return [query["sql"] for query in captured]


def test_one_query_returns_role_and_clock():
    asked = statements()

    assert sum("pg_roles" in sql or "clock" in sql for sql in asked) == 1
    assert len(asked) <= 3  # the others are of the migrations


def test_migrations_are_checked_until_all_are_applied(monkeypatch):
    statements()
    monkeypatch.setattr(checks, "MigrationLoader", lambda _: pytest.fail("migrations were loaded"))

    assert len(statements()) == 1


def test_an_unmigrated_schema_is_checked_each_time(schema):
    missing = MigrationRecorder(connection).migration_qs.filter(app="chassis").latest("id")
    name = missing.name
    missing.delete()

    assert [ask()[0], ask()[0], schema.is_complete] == [503, 503, False]

    MigrationRecorder(connection).record_applied("chassis", name)
    assert (ask()[0], schema.is_complete) == (200, True)


def test_a_database_that_goes_away_is_noticed(monkeypatch):
    assert ask()[0] == 200

    monkeypatch.setattr(checks, "connection", Away())
    assert ask() == (503, ANY)


class Away:
    def ensure_connection(self):
        raise OperationalError("gone")


TOKEN = "prometheus-may-read-this-0123456789"
STRANGER = {"REMOTE_ADDR": "203.0.113.7"}


@pytest.mark.parametrize(
    ("meta", "explains"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, True),
        ({"REMOTE_ADDR": "::1"}, True),
        ({"REMOTE_ADDR": "::ffff:127.0.0.1"}, True),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),  # through the gateway
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": ""}, False),
        (STRANGER, False),
        ({"REMOTE_ADDR": ""}, False),
        (STRANGER | {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}, True),
        (STRANGER | {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}x"}, False),
        (STRANGER | {"HTTP_AUTHORIZATION": "Bearer "}, False),
        ({"HTTP_X_FORWARDED_FOR": "203.0.113.7", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}, True),
    ],
)
def test_only_operators_see_reasons(settings, meta, explains):
    settings.METRICS_TOKEN = TOKEN

    degraded = ask(LATE, **meta)
    with reading("rolsuper,", "true,"):
        _, refused = ask(**meta)

    assert degraded == (200, {"status": "degraded"} | ({"reasons": ["mail: one waits"]} if explains else {}))
    assert ("superuser" in refused["detail"]) is explains
    assert (refused["code"], refused["status"]) == ("not_ready", 503)


def test_without_a_metrics_token_no_token_shows_reasons(settings):
    settings.METRICS_TOKEN = ""

    assert ask(LATE, **STRANGER, HTTP_AUTHORIZATION="Bearer ")[1] == {"status": "degraded"}
