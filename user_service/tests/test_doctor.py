import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Mail
from chassis.models import Heartbeat

pytestmark = pytest.mark.django_db


@pytest.fixture
def healthy(ada, settings):
    """A healthy service."""
    Heartbeat.objects.beat()
    settings.GATEWAY_ADDRESSES = ["127.0.0.1"]


def lines(capsys, *, status, **options):
    """Run the command and return the findings by name."""
    if status:
        with pytest.raises(SystemExit) as ending:
            call_command("doctor", **options)
        assert ending.value.code == status
    else:
        call_command("doctor", **options)
    found = re.findall("^(ok|WRONG|unsure) +(.{11}) (.+)$", capsys.readouterr().out, re.MULTILINE)
    return {name.strip(): (state, text) for state, name, text in found}


@pytest.mark.usefixtures("healthy")
def test_a_healthy_service_has_no_findings_and_is_unchanged(capsys):
    with CaptureQueriesContext(connection) as captured:
        found = lines(capsys, status=0)

    # The role of the tests owns its tables, so it could change the audit trail.
    assert {name for name, (state, _) in found.items() if state != "ok"} == {"history"}
    assert {"settings", "limits", "database", "role", "migrations", "worker", "mails", "admin", "mail"} <= found.keys()
    verbs = {query["sql"].split()[0] for query in captured}
    assert verbs <= {"SELECT", "SET", "SAVEPOINT", "RELEASE", "INSERT", "ROLLBACK"}


def test_a_missing_worker_or_admin_is_exit_status_1(capsys):
    found = lines(capsys, status=1)

    assert found["worker"][0] in ("unsure", "WRONG")  # the tables of the tests may be new
    assert found["admin"] == ("WRONG", "no admin is active; set ADMIN_PASSWORD and run: manage.py ensure_admin")


@pytest.mark.usefixtures("healthy")
def test_dead_lettered_mails_are_reported_as_unsure(capsys):
    Mail.objects.create(kind=Mail.Kind.INVITATION, email_key="x@example.com", state="failed", reason="550 no such user")

    found = lines(capsys, status=0)

    assert (found["mails"][0], found["failed"][0]) == ("ok", "unsure")


@pytest.mark.django_db(transaction=True)
def test_checks_of_an_unreachable_database_are_skipped(capsys, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    found = lines(capsys, status=1)

    assert found["database"][0] == "WRONG"
    assert found.keys() == {"settings", "limits", "links", "database", "mail"}


@pytest.mark.parametrize("address", ["nobody", ""])
def test_an_invalid_address_is_one_sentence(address):
    with pytest.raises(CommandError, match=r"^--mail: .* is not a mail address\.$") as refusal:
        call_command("doctor", mail=address)

    assert refusal.value.returncode == 2


@pytest.mark.usefixtures("healthy")
def test_a_changed_admin_password_is_reported(capsys, monkeypatch):
    monkeypatch.setenv("ADMIN_USERNAME", "Ada")
    monkeypatch.setenv("ADMIN_PASSWORD", "it was this once")

    state, text = lines(capsys, status=0)["admin"]

    assert state == "unsure"
    assert "ADMIN_PASSWORD is not the password of an admin named Ada" in text
    assert "it was this once" not in text
