"""manage.py ensure_admin. The values it refuses: test_weak_passwords.py, test_addresses.py."""

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Attempt, AuditEvent, User
from chassis.ops.env import SettingError
from tests.conftest import NEW_PASSWORD as PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("ADMIN_USERNAME", "ADMIN_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)


def test_the_first_admin_is_created_and_can_sign_in(client, capsys):
    call_command("ensure_admin")

    admin = User.objects.get()
    assert capsys.readouterr().out == "Created the admin admin.\n"
    assert (admin.username, admin.role, admin.is_active) == ("admin", "admin", True)
    client.set_tokens(**client.post("/token/", {"username": "admin", "password": PASSWORD}).json())
    assert client.get("/user/users/").status_code == 200


def test_the_environment_names_the_admin(monkeypatch):
    monkeypatch.setenv("ADMIN_USERNAME", "Ada")
    monkeypatch.setenv("ADMIN_EMAIL", "ada@example.com")

    call_command("ensure_admin")

    assert User.objects.active_admins().get(username="Ada", email="ada@example.com")


def test_an_existing_admin_is_unchanged(ada, capsys, monkeypatch):
    monkeypatch.delenv("ADMIN_PASSWORD")
    before = User.objects.values().get()

    call_command("ensure_admin")

    assert capsys.readouterr().out == "An active admin exists: Ada.\n"
    assert User.objects.values().get() == before


def test_an_inactive_admin_does_not_count(person):
    person("Gone", role=User.Role.ADMIN, is_active=False)

    call_command("ensure_admin")

    assert User.objects.active_admins().get().username == "admin"


def test_an_invalid_name_is_one_sentence(monkeypatch):
    monkeypatch.setenv("ADMIN_USERNAME", "a@b")

    with pytest.raises(CommandError, match=r"^ADMIN_USERNAME cannot be used: [^\n]+\.$"):
        call_command("ensure_admin")


def test_a_missing_password_names_the_setting(monkeypatch):
    monkeypatch.delenv("ADMIN_PASSWORD")

    with pytest.raises(SettingError, match=r"^ADMIN_PASSWORD is not set; see \.env\.example\.$"):
        call_command("ensure_admin")


def test_an_existing_user_is_never_promoted(alice, monkeypatch):
    monkeypatch.setenv("ADMIN_USERNAME", "alice")

    with pytest.raises(CommandError, match=r"^ADMIN_USERNAME belongs to an account that is not an active admin\.$"):
        call_command("ensure_admin")

    alice.refresh_from_db()
    assert alice.role == "user"


class TestCheck:
    @pytest.fixture
    def checked(self, capsys):
        def check():
            capsys.readouterr()
            call_command("ensure_admin", "--check")
            return capsys.readouterr().out.strip()

        return check

    def test_it_reports_whether_the_password_is_current(self, checked, monkeypatch):
        call_command("ensure_admin")
        assert checked() == "current"

        monkeypatch.setenv("ADMIN_PASSWORD", "another orange lantern")
        assert checked() == "not current"

        monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
        monkeypatch.setenv("ADMIN_USERNAME", "nobody")
        assert checked() == "not current"
        assert not AuditEvent.objects.filter(event__startswith="authn_login").exists()
        assert not Attempt.objects.exists()

    def test_it_creates_no_admin(self, checked):
        assert checked() == "not current"
        assert not User.objects.exists()
