"""The checks of the database and of what is stored there."""

from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone

from chassis.models import Heartbeat, Window
from chassis.ops import checks, doctor
from chassis.testing.queries import replacing
from chassis.tests.outbox_app.models import Letter

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unchecked_schema(monkeypatch):
    """A process that has not checked migrations yet."""
    monkeypatch.setattr(checks, "SCHEMA", checks.Schema())


def run_check(find):
    return doctor.run_check(checks.Check("any", find))


def clock():
    return checks.clock(checks.query_server())


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_each_check_of_a_healthy_database_is_ok():
    Heartbeat.objects.beat()

    found = {check.name: doctor.run_check(check) for check in checks.DATABASE_CHECKS}

    assert {name: each.text for name, each in found.items() if each.state != "ok"} == {}
    assert (doctor.database().state, checks.history().state) == ("ok", "ok")
    assert not Window.objects.exists()  # the write check is rolled back


def test_checks_cannot_write():
    found = run_check(Heartbeat.objects.beat)

    assert "read-only transaction" in found.text
    assert not Heartbeat.objects.exists()


def test_a_check_without_its_table_is_unsure_and_the_next_runs():
    execute("DROP TABLE chassis_window")

    assert "does not exist; apply all migrations" in run_check(checks.counting).text
    assert run_check(clock).state == "ok"


@pytest.mark.django_db(transaction=True)
def test_an_unreachable_database_is_wrong(monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    found = doctor.database()

    assert found.state == "WRONG"
    assert "Connection refused; is PostgreSQL running" in found.text


SECRET = ["CREATE SCHEMA another", "CREATE TABLE another.secret (id int)"]
STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = '3s'"
TIMEOUTS = ["SET LOCAL lock_timeout = '2s'", "SET LOCAL idle_in_transaction_session_timeout = '30s'"]
TWO_SERVICES = "INSERT INTO django_migrations (app, name, applied) VALUES ('accounts', '0001_initial', now())"
NO_TIMEOUT = "statement_timeout is 0, so the server never cancels a statement that hangs; run manage.py migrate"


@pytest.mark.parametrize(
    ("find", "statements", "state", "text"),
    [
        (
            checks.role,
            [*SECRET, "CREATE VIEW another.shown AS SELECT 1"],
            "WRONG",
            "can access 2 tables outside its schema, such as another.secret",
        ),
        (checks.role, [*SECRET, "REVOKE ALL ON SCHEMA another FROM CURRENT_USER"], "ok", ""),
        (checks.schema, [TWO_SERVICES], "WRONG", "also contains the tables of accounts"),
        (checks.schema, ["SET LOCAL search_path = nowhere"], "WRONG", "no schema of search_path nowhere exists"),
        (
            checks.migrations,
            ["DELETE FROM django_migrations WHERE app = 'chassis'"],
            "WRONG",
            "2 are not applied, such as chassis.0001_limits_and_heartbeat",
        ),
        (checks.counting, ["ALTER TABLE chassis_window SET LOGGED"], "WRONG", ""),
        (checks.timeouts, [STATEMENT_TIMEOUT, *TIMEOUTS], "ok", "statement_timeout 3 s, lock_timeout 2 s, idle_in_tr"),
        (checks.timeouts, [*TIMEOUTS, "SET LOCAL statement_timeout = 0"], "WRONG", NO_TIMEOUT),
    ],
)
def test_a_check_reports_the_state_of_the_database(find, statements, state, text):
    execute(*statements)

    found = find()

    assert found.state == state
    assert text in found.text


def shifted(interval):
    return f"clock_timestamp() + interval '{interval}'"


@pytest.mark.parametrize(
    ("find", "old", "new", "state", "text"),
    [
        (checks.role, "rolsuper", "true", "WRONG", "is a superuser"),
        (doctor.database, "current_setting('server_version_num')", "140011", "WRONG", "use PostgreSQL 15 or newer"),
        (checks.writing, "INSERT INTO chassis_window", "INSERT INTO nowhere", "WRONG", "the database rejects writes: "),
        *((clock, "clock_timestamp()", shifted(interval), "unsure", "") for interval in ("3.5 s", "-3.5 s")),
        (clock, "clock_timestamp()", shifted("-45 s"), "WRONG", "synchronize both with a time server"),
    ],
)
def test_a_check_reports_what_the_server_answers(find, old, new, state, text):
    with replacing(old, new):
        found = find()

    assert found.state == state
    assert text in found.text


def test_a_role_that_owns_the_tables_can_change_history(monkeypatch):
    monkeypatch.setattr(Letter, "revoked_rights", "UPDATE, DELETE", raising=False)

    found = checks.history()

    assert found.state == "unsure"
    assert f"may change or delete {Letter._meta.db_table}; use a separate owner for migrations" in found.text


@pytest.mark.parametrize(("seconds_ago", "state"), [(-1, "ok"), (0, "ok"), (61, "WRONG")])
def test_a_heartbeat_shows_a_live_worker(seconds_ago, state):
    Heartbeat.objects.create(beat_at=timezone.now() - timedelta(seconds=seconds_ago))

    found = checks.worker()

    assert found.state == state
    assert ("RUN_WORKER=inline" in found.text) is (state == "WRONG")


@pytest.mark.parametrize(("age", "state"), [("0 s", "unsure"), ("2 minutes", "WRONG")])
def test_a_worker_on_new_tables_is_unsure(age, state):
    execute(f"UPDATE django_migrations SET applied = now() - interval '{age}'")

    assert checks.worker().state == state


failed = partial(checks.failed, many="letters", remedy="send them again")


def outbox():
    letters = Letter.objects.all()
    return checks.outbox(letters, one="letter", many="letters", sendable=letters)


def test_an_empty_or_fresh_outbox_is_ok():
    empty = outbox()
    Letter.objects.create(text="hello")

    assert (empty.state, empty.text) == ("ok", "no letters wait")
    assert outbox().state == "ok"


def test_a_late_message_is_reported_with_its_last_reason():
    Letter.objects.create(text="hello", planned_at=timezone.now() - timedelta(hours=3), reason="450 busy")

    found = outbox()

    assert found.state == "WRONG"
    assert "waited for 3 hours: 450 busy; is a worker running?" in found.text


def test_dead_letters_are_reported_with_reason_and_remedy():
    Letter.objects.create(text="hello", state="failed", reason="550 no such user")
    Letter.objects.create(text="hello", state="failed", reason="552 full")

    found = failed(Letter.objects.all())

    assert found.state == "unsure"
    assert found.text == "2 letters were dead-lettered, the last one because: 552 full; send them again"


def gauges():
    return {name: value for name, _, value in failed(Letter.objects.all()).gauges}


def create(number, state, reason=""):
    Letter.objects.bulk_create(Letter(state=state, reason=reason) for _ in range(number))


def test_an_outbox_counts_waiting_and_dead_lettered_messages():
    assert gauges() == {"tmservice_letters_waiting": 0, "tmservice_letters_failed": 0}

    create(3, "planned")
    create(2, "failed", "554 no")
    create(4, "skipped", "nobody there")

    assert gauges() == {"tmservice_letters_waiting": 3, "tmservice_letters_failed": 2}


def test_counting_is_capped(monkeypatch):
    monkeypatch.setattr(checks, "MAX_COUNTED", 5)
    monkeypatch.setattr(checks, "MAX_EXAMINED", 4)
    create(5, "failed", "554 no")
    create(6, "planned")
    create(1, "failed", "554 no")

    assert gauges() == {"tmservice_letters_waiting": 5, "tmservice_letters_failed": 1}
