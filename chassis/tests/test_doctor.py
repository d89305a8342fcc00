from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from chassis.auth.keys import key_id
from chassis.models import Heartbeat, Window
from chassis.ops import checks, doctor, findings, mail_check
from chassis.testing.smtp_sink import HANG_UP, serving
from chassis.tests.outbox_app.models import Letter

NEEDS_DATABASE = pytest.mark.django_db
ADDRESS = "ada@example.com"


def reading(old, new):
    """Change what the database reads."""

    def execute(run, sql, params, many, context):
        return run(sql.replace(old, new), params, many, context)

    return connection.execute_wrapper(execute)


def run_check(find):
    return doctor.run_check(checks.Check("any", find))


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


# Matches


def test_a_finding_is_one_line():
    line = findings.wrong("refused:\n  no such host; set EMAIL_URL").line("mail")

    assert line == "WRONG   mail        refused: no such host; set EMAIL_URL"


@pytest.mark.parametrize(
    "character", ["\x1b", "\x7f", "\x9b", "\u200b", "\u202e", "\u2066", "\ufeff", "\ud800"], ids=ascii
)
def test_a_finding_has_no_terminal_escapes(character):
    line = findings.wrong(f"550 {character}[2J no").line("mail")

    assert line.isprintable()
    assert line.endswith(rf"550 {ascii(character)[1:-1]}[2J no")


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "ok"), (2, "ok"), (2.1, "unsure"), (5, "unsure"), (5.1, "WRONG"), (90_000, "WRONG")]
)
def test_a_clock_difference_is_reported(seconds, state):
    assert findings.clock(seconds, whose="the database's").state == state


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 minutes"), (7000, "117 minutes"), (7200, "2 hours"), (200_000, "2 days")],
)
def test_durations_are_readable(seconds, expected):
    assert findings.duration(seconds) == expected


# Settings


def test_keys_are_reported_only_by_id(settings):
    found = doctor.valid_settings()

    shared = [settings.JWT_SIGNING_KEY, *settings.JWT_PREVIOUS_SIGNING_KEYS]
    assert found.state == "ok"
    assert all(secret not in found.text for secret in shared)
    assert all(found.text.count(key_id(secret)) == 2 for secret in shared)


def test_debug_is_unsure(settings):
    settings.DEBUG = True

    assert doctor.valid_settings().state == "unsure"


def test_a_gateway_without_settings_is_unsure(settings):
    unnamed = doctor.limits()
    settings.GATEWAY_ADDRESSES = ["127.0.0.1"]
    named = doctor.limits()

    assert (unnamed.state, named.state) == ("unsure", "ok")
    assert "GATEWAY_ADDRESSES and GATEWAY_SECRET are not set" in unnamed.text


# The database


@NEEDS_DATABASE
def test_each_check_of_a_healthy_database_is_ok():
    Heartbeat.objects.beat()

    found = {check.name: doctor.run_check(check) for check in checks.DATABASE_CHECKS}

    assert {name: each.text for name, each in found.items() if each.state != "ok"} == {}
    assert doctor.database().state == "ok"


@NEEDS_DATABASE
def test_checks_cannot_write():
    found = run_check(Heartbeat.objects.beat)

    assert "read-only transaction" in found.text
    assert not Heartbeat.objects.exists()


@NEEDS_DATABASE
def test_a_check_without_its_table_is_unsure_and_the_next_runs():
    execute("DROP TABLE chassis_window")

    assert "does not exist; apply all migrations" in run_check(checks.counting).text
    assert run_check(lambda: checks.clock(checks.query_server())).state == "ok"


@pytest.mark.django_db(transaction=True)
def test_an_unreachable_database_is_wrong(monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    found = doctor.database()

    assert found.state == "WRONG"
    assert "Connection refused; is PostgreSQL running" in found.text


@NEEDS_DATABASE
def test_an_old_postgresql_is_wrong():
    with reading("current_setting('server_version_num')", "140011"):
        found = doctor.database()

    assert (found.state, "use PostgreSQL 15 or newer" in found.text) == ("WRONG", True)


@NEEDS_DATABASE
def test_a_role_with_access_to_other_tables_is_wrong():
    execute("CREATE SCHEMA another", "CREATE TABLE another.secret (id int)", "CREATE VIEW another.shown AS SELECT 1")

    found = checks.role()

    assert found.state == "WRONG"
    assert "can access 2 tables outside its schema, such as another.secret" in found.text


@NEEDS_DATABASE
def test_tables_in_an_inaccessible_schema_do_not_count():
    execute("CREATE SCHEMA another", "CREATE TABLE another.secret (id int)")
    execute("REVOKE ALL ON SCHEMA another FROM CURRENT_USER")

    assert checks.role().state == "ok"


@NEEDS_DATABASE
def test_a_superuser_is_wrong():
    with reading("rolsuper", "true"):
        assert "is a superuser" in checks.role().text


@NEEDS_DATABASE
def test_a_schema_shared_by_two_services_is_wrong():
    execute("INSERT INTO django_migrations (app, name, applied) VALUES ('accounts', '0001_initial', now())")

    found = checks.schema()

    assert (found.state, "also contains the tables of accounts" in found.text) == ("WRONG", True)


@NEEDS_DATABASE
def test_a_search_path_without_a_schema_is_wrong():
    execute("SET LOCAL search_path = nowhere")

    assert "no schema of search_path nowhere exists" in checks.schema().text


@NEEDS_DATABASE
def test_a_role_that_owns_the_tables_can_change_history(monkeypatch):
    monkeypatch.setattr(Letter, "revoked_rights", "UPDATE, DELETE", raising=False)

    found = checks.history()

    assert found.state == "unsure"
    assert f"may change or delete {Letter._meta.db_table}; use a separate owner for migrations" in found.text


@NEEDS_DATABASE
def test_without_append_only_tables_history_is_ok():
    assert checks.history().state == "ok"


@NEEDS_DATABASE
def test_an_unapplied_migration_is_wrong(monkeypatch):
    monkeypatch.setattr(checks, "SCHEMA", checks.Schema())
    execute("DELETE FROM django_migrations WHERE app = 'chassis'")

    found = checks.migrations()

    assert found.state == "WRONG"
    assert "2 are not applied, such as chassis.0001_limits_and_heartbeat" in found.text


@NEEDS_DATABASE
def test_counting_in_a_logged_table_is_wrong():
    execute("ALTER TABLE chassis_window SET LOGGED")

    assert checks.counting().state == "WRONG"


@NEEDS_DATABASE
@pytest.mark.parametrize(("interval", "state"), [("3.5 s", "unsure"), ("-3.5 s", "unsure"), ("-45 s", "WRONG")])
def test_the_clock_of_the_database_is_checked(interval, state):
    with reading("clock_timestamp()", f"clock_timestamp() + interval '{interval}'"):
        assert checks.clock(checks.query_server()).state == state


@NEEDS_DATABASE
@pytest.mark.parametrize(("seconds_ago", "state"), [(-1, "ok"), (59, "ok"), (61, "WRONG")])
def test_a_heartbeat_shows_a_live_worker(seconds_ago, state):
    Heartbeat.objects.create(beat_at=timezone.now() - timedelta(seconds=seconds_ago))

    found = checks.worker()

    assert found.state == state
    assert ("RUN_WORKER=inline" in found.text) is (state == "WRONG")


@NEEDS_DATABASE
def test_a_worker_on_new_tables_is_unsure():
    execute("UPDATE django_migrations SET applied = now() - interval '10 s'")
    fresh = checks.worker()
    execute("UPDATE django_migrations SET applied = now() - interval '2 minutes'")
    older = checks.worker()

    assert (fresh.state, older.state) == ("unsure", "WRONG")


# Mails


def judge():
    letters = Letter.objects.all()
    return checks.outbox(letters, one="letter", many="letters", sendable=letters)


@NEEDS_DATABASE
def test_an_empty_or_fresh_outbox_is_ok():
    empty = judge()
    Letter.objects.create(text="hello")

    assert (empty.state, empty.text) == ("ok", "no letters wait")
    assert judge().state == "ok"


@NEEDS_DATABASE
def test_a_late_message_is_reported_with_its_last_reason():
    Letter.objects.create(text="hello", planned_at=timezone.now() - timedelta(hours=3), reason="450 busy")

    found = judge()

    assert found.state == "WRONG"
    assert "waited for 3 hours: 450 busy; is a worker running?" in found.text


@NEEDS_DATABASE
def test_dead_letters_are_reported_with_reason_and_remedy():
    Letter.objects.create(text="hello", state="failed", reason="550 no such user")
    Letter.objects.create(text="hello", state="failed", reason="552 full")

    found = checks.failed(Letter.objects.all(), many="letters", remedy="send them again")

    assert found.state == "unsure"
    assert found.text == "2 letters were dead-lettered, the last one because: 552 full; send them again"


# Mail


@pytest.fixture
def smtp(settings):
    """A mail server, and settings for it."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.SERVICE, settings.MAIL_DOMAIN = "the_service", "tm.test"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", 5
    with serving() as sink:
        settings.EMAIL_PORT = sink.port
        yield sink


@pytest.fixture
def mail_folder(settings, tmp_path):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.SERVICE, settings.MAIL_DOMAIN = "the_service", "tm.test"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    return tmp_path / "mail"


def test_a_working_mail_server_is_ok_without_sending_a_mail(smtp):
    found = mail_check.mail(None)

    assert found.state == "ok"
    assert f"127.0.0.1:{smtp.port} responds, without a login" in found.text
    assert ("NOOP" in smtp.commands, smtp.received) == (True, [])


@pytest.mark.usefixtures("smtp")
def test_links_in_sent_mails_need_a_public_url(settings):
    settings.PUBLIC_URL, settings.LOCAL_URL = "", "http://localhost:8080"
    inside, outside = doctor.links(in_mails=False), doctor.links(in_mails=True)
    settings.PUBLIC_URL = "https://tasks.example.com"

    assert [inside.state, outside.state, doctor.links(in_mails=True).state] == ["ok", "unsure", "ok"]
    assert "links in mails begin with http://localhost:8080, which only opens on this machine" in outside.text


def test_the_requested_mail_is_sent(smtp):
    found = mail_check.mail(ADDRESS)

    ((_, recipients, message),) = smtp.received
    assert (found.state, recipients) == ("ok", [ADDRESS])
    assert "the_service" in message["Subject"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"CONNECT": "554 not you"}, "554 not you"),
        ({"NOOP": "421 closing"}, "421 closing"),
        ({"NOOP": HANG_UP}, "Connection unexpectedly closed"),
    ],
)
def test_an_unreachable_mail_server_is_wrong(smtp, answers, expected):
    smtp.answers.update(answers)

    found = mail_check.mail(None)

    assert found.state == "WRONG"
    assert f"127.0.0.1:{smtp.port}: " in found.text
    assert expected in found.text
    assert "set EMAIL_URL" in found.text


def test_a_rejected_mail_login_is_wrong(smtp, settings):
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "ada", "seven green bicycles"

    found = mail_check.mail(None)

    assert (found.state, "AUTH" in found.text) == ("WRONG", True)
    assert "bicycles" not in found.text


def test_a_rejected_recipient_is_wrong(smtp):
    smtp.answers[ADDRESS] = "550 no such user"

    assert "550 no such user" in mail_check.mail(ADDRESS).text


def test_without_a_mail_server_mails_are_files(mail_folder):
    looked = mail_check.mail(None)
    before = mail_folder.exists()
    sent = mail_check.mail(ADDRESS)

    assert (looked.state, sent.state, before) == ("ok", "ok", False)
    assert str(mail_folder) in looked.text
    assert len(list(mail_folder.iterdir())) == 1
    assert mail_folder.stat().st_mode & 0o077 == 0


def test_an_unusable_mail_folder_is_wrong(mail_folder):
    mail_folder.write_text("a file")

    for found in (mail_check.mail(None), mail_check.mail(ADDRESS)):
        assert found.state == "WRONG"
        assert "set MAIL_FOLDER or EMAIL_URL" in found.text


@NEEDS_DATABASE
def test_time_limits_are_reported():
    limits = {"statement_timeout": "3s", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "30s"}
    execute(*(f"SET LOCAL {name} = '{value}'" for name, value in limits.items()))

    found = checks.timeouts()

    assert found.state == "ok"
    assert found.text == "statement_timeout 3 s, lock_timeout 2 s, idle_in_transaction_session_timeout 30 s"


@NEEDS_DATABASE
def test_a_missing_time_limit_is_wrong():
    execute("SET LOCAL statement_timeout = 0", "SET LOCAL lock_timeout = '2s'")

    found = checks.timeouts()

    assert found.state == "WRONG"
    assert found.text.startswith(
        "statement_timeout is 0, so the server never cancels a statement that hangs; run manage.py migrate"
    )


@NEEDS_DATABASE
def test_a_database_that_rejects_writes_is_wrong():
    with reading("INSERT INTO chassis_window", "INSERT INTO chassis_window_of_a_full_disk"):
        found = checks.writing()

    assert found.state == "WRONG"
    assert found.text.startswith("the database rejects writes: ")


@NEEDS_DATABASE
def test_the_write_check_is_rolled_back():
    assert checks.writing().state == "ok"
    assert not Window.objects.exists()


def test_a_sample_sender_is_wrong_with_a_mail_server(settings, monkeypatch):
    settings.MAIL_DOMAIN = "tmservice.invalid"
    monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1:1")

    assert mail_check.mail_to_server(None) == findings.wrong(
        "MAIL_FROM is an address at tmservice.invalid, which mail servers refuse; set it to one of your own."
    )
