import io
import socket

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from chassis.testing import inherited_commands
from tests.conftest import allow_truncation

pytestmark = pytest.mark.django_db

ACCOUNT_COMMANDS = {
    "changepassword": ["nobody"],
    "createsuperuser": ["--noinput", "--username=root", "--email=root@example.com"],
    "remove_stale_contenttypes": ["--noinput"],
}
REFUSALS = {
    "changepassword": "No account has the username or email 'nobody'.",
    "flush": "The database cannot be emptied: audit events are append-only",
}


@pytest.fixture
def commands(tmp_path, monkeypatch, password):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    for name, sentence in REFUSALS.items():
        monkeypatch.setitem(inherited_commands.REFUSALS, name, sentence)
    return inherited_commands.table("accounts", tmp_path) | ACCOUNT_COMMANDS


def test_every_inherited_command_is_in_the_table(commands):
    assert inherited_commands.inherited() == commands.keys()


@pytest.fixture
def append_only(transactional_db):
    """Enable the trigger on audit events, which the tests disable to empty the table."""
    allow_truncation(trigger="ENABLE")
    yield
    allow_truncation()


@pytest.mark.django_db(transaction=True)  # migrate closes the connection
@pytest.mark.usefixtures("append_only")
def test_each_works_or_explains_its_refusal(commands):
    assert inherited_commands.unexpected(commands) == {}


@pytest.mark.parametrize("file", ["swagger.json", "swagger.yaml"])
def test_the_written_document_is_the_served_one(client, tmp_path, file):
    path = tmp_path / file

    call_command("generate_swagger", str(path))

    assert path.read_bytes() == client.get(f"/user/{file}").content
    with pytest.raises(CommandError, match=r"swagger\.(json|yaml) cannot be written: File exists\.$"):
        call_command("generate_swagger", str(path))
    call_command("generate_swagger", str(path), "--overwrite")


def test_a_test_mail_reports_the_error_of_the_mail_server(settings):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = closed.getsockname()

        with pytest.raises(CommandError, match=r"^The mail cannot be sent: .*Connection refused; see EMAIL_URL\.$"):
            call_command("sendtestemail", "alice@example.com")

    assert mail.outbox == []
