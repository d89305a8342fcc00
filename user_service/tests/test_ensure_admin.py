import pytest
from django.core.management import CommandError, call_command

from accounts.models import Attempt, AuditEvent, User
from chassis.ops.env import SettingError

pytestmark = pytest.mark.django_db

PASSWORD = "nine orange lanterns"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("ADMIN_USERNAME", "ADMIN_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)


def test_the_first_admin_is_created(capsys):
    call_command("ensure_admin")

    admin = User.objects.get()
    assert capsys.readouterr().out == "Created the admin admin.\n"
    assert (admin.username, admin.role, admin.is_active) == ("admin", "admin", True)


def test_the_admin_signs_in_with_that_password(client):
    call_command("ensure_admin")

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


@pytest.mark.parametrize("password", ["short1", "password123", "84027591630217", "x" * 1025])
def test_a_weak_password_is_one_sentence(monkeypatch, password):
    monkeypatch.setenv("ADMIN_PASSWORD", password)

    with pytest.raises(CommandError, match=r"^ADMIN_PASSWORD cannot be used: [^\n]+\.$") as refusal:
        call_command("ensure_admin")

    assert password not in str(refusal.value)
    assert not User.objects.exists()


@pytest.mark.parametrize(("name", "value"), [("ADMIN_USERNAME", "a@b"), ("ADMIN_EMAIL", "nowhere")])
def test_an_invalid_name_or_address_is_one_sentence(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(CommandError, match=rf"^{name} cannot be used: [^\n]+\.$"):
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


def checked(capsys):
    capsys.readouterr()
    call_command("ensure_admin", "--check")
    return capsys.readouterr().out.strip()


def test_check_reports_whether_the_password_is_current(capsys, monkeypatch):
    call_command("ensure_admin")
    before = checked(capsys)
    admin = User.objects.get()
    admin.set_password("another orange lantern")
    admin.save()
    afterwards = checked(capsys)
    monkeypatch.setenv("ADMIN_PASSWORD", "another orange lantern")
    again = checked(capsys)
    monkeypatch.setenv("ADMIN_USERNAME", "nobody")

    assert [before, afterwards, again, checked(capsys)] == ["current", "not current", "current", "not current"]
    assert not AuditEvent.objects.filter(event__startswith="authn_login").exists()
    assert not Attempt.objects.exists()


def test_check_creates_no_admin(capsys):
    assert checked(capsys) == "not current"
    assert not User.objects.exists()
