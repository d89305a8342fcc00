import json
import re
import time
from unittest.mock import Mock

import pytest
from django.db import OperationalError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from chassis import refused_writes
from chassis.ops import checks, findings, health
from chassis.ops.checks import Check
from chassis.testing.limiting import set_limits
from chassis.testing.queries import replacing

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


def clock_off_by(interval):
    return replacing("clock_timestamp()", f"clock_timestamp() + interval '{interval}'")


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


APART = "clock: this machine's clock and the database's differ by 45.0 s; synchronize both with a time server"
LATE_MAIL = "mail: one waits"


@pytest.mark.parametrize(
    ("interval", "reasons"), [("45 s", [APART, LATE_MAIL]), ("-45 s", [APART, LATE_MAIL]), ("1 s", [LATE_MAIL])]
)
def test_a_large_clock_difference_degrades(interval, reasons):
    with clock_off_by(interval):
        assert ask(LATE) == (200, {"status": "degraded", "reasons": reasons})


def test_a_slow_database_is_not_a_clock_difference(monkeypatch):
    monkeypatch.setattr(findings, "UNSURE_CLOCK_SECONDS", 0)

    with replacing("clock_timestamp()", "(SELECT clock_timestamp() FROM pg_sleep(0.3))"):
        assert ask() == (200, {"status": "ok"})


def test_one_query_reads_role_and_clock(monkeypatch):
    assert len(statements()) <= 3
    monkeypatch.setattr(checks, "MigrationLoader", lambda _: pytest.fail("migrations were loaded"))

    (asked,) = statements()
    assert "pg_roles" in asked
    assert "clock" in asked


def statements():
    with CaptureQueriesContext(connection) as captured:
        ask()
    return [query["sql"] for query in captured]


def test_an_unmigrated_schema_is_checked_each_time(schema):
    missing = MigrationRecorder(connection).migration_qs.filter(app="chassis").latest("id")
    name = missing.name
    missing.delete()

    assert [ask()[0], ask()[0], schema.is_complete] == [503, 503, False]

    MigrationRecorder(connection).record_applied("chassis", name)
    assert (ask()[0], schema.is_complete) == (200, True)


def test_a_database_that_goes_away_is_noticed(monkeypatch):
    assert ask()[0] == 200
    monkeypatch.setattr(connection, "ensure_connection", Mock(side_effect=OperationalError("gone")))

    assert ask()[0] == 503


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
    with replacing("rolsuper,", "true,"):
        status, refused = ask(**meta)

    assert degraded == (200, {"status": "degraded"} | ({"reasons": ["mail: one waits"]} if explains else {}))
    assert ("superuser" in refused["detail"]) is explains
    assert (status, refused["code"], refused["status"]) == (503, "not_ready", 503)


def test_without_a_metrics_token_no_token_shows_reasons():
    assert ask(LATE, **STRANGER, HTTP_AUTHORIZATION="Bearer ")[1] == {"status": "degraded"}
