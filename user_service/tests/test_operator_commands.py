"""Changes of accounts by manage.py or a script follow the same rules as the API."""

import getpass
import io
import sys

import pytest
from django.contrib.auth import hashers
from django.core.management import CommandError, call_command

from accounts.hashers import SmallArgon2PasswordHasher
from accounts.models import AuditEvent, Change, PasswordToken, User
from accounts.models.mail import Mail
from tests.conftest import NEW_PASSWORD as NEW
from tests.conftest import login_status

pytestmark = pytest.mark.django_db


@pytest.fixture
def type_in(monkeypatch):
    """Types these passwords and lines when a command prompts."""

    def answer_with(*passwords, lines=()):
        passwords = iter(passwords)
        monkeypatch.setattr(getpass, "getpass", lambda *args, **kwargs: next(passwords))
        monkeypatch.setattr("accounts.management.commands.createsuperuser.getpass", lambda prompt: next(passwords))
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return answer_with


def changepassword(user):
    call_command("changepassword", "ALICE@example.com")


def set_and_save(user):
    user.set_password(NEW)
    user.save()


def save_one_field(user):
    user.set_password(NEW)
    user.save(update_fields=["password"])


def assign_a_hash(user):
    user.password = hashers.make_password(NEW)
    user.save()


class TestReplacedPassword:
    @pytest.mark.parametrize("replace", [changepassword, set_and_save, save_one_field, assign_a_hash])
    def test_a_new_password_ends_sessions_and_tokens(self, client, client_of, alice, password, type_in, replace):
        type_in(NEW, NEW)
        signed_in, token = client_of(alice), PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)

        replace(User.objects.get())

        assert signed_in.get("/user/me/").status_code == 401
        assert client.post("/token/refresh/", {"refresh": signed_in.refresh_token}).status_code == 401
        assert not PasswordToken.objects.valid(token).exists()
        alice.refresh_from_db()
        assert (alice.epoch, alice.min_valid_epoch) == (1, 1)
        assert Change.objects.get().user_id == alice.pk  # so the task service is notified
        event = AuditEvent.objects.get(event="authn_password_change")
        assert (event.actor_id, event.subject_id) == (None, alice.pk)
        assert [login_status(client, "alice", each) for each in (NEW, password)] == [200, 401]

    def test_a_new_password_lifts_the_wait(self, client, alice):
        for _ in range(10):
            login_status(client, "alice", "not hers")

        set_and_save(alice)

        assert login_status(client, "alice", NEW) == 200

    @pytest.mark.parametrize(("save", "epoch"), [(set_and_save, 2), (User.save, 1)], ids=["new password", "no change"])
    def test_saving_a_stale_account_restores_no_rights(self, client_of, alice, save, epoch):
        stale = User.objects.get()
        client_of(alice).post("/token/logout-all/")

        save(stale)

        alice.refresh_from_db()
        assert (alice.epoch, alice.min_valid_epoch) == (epoch, epoch)

    def test_saving_another_field_ends_nothing(self, client_of, alice):
        signed_in = client_of(alice)

        alice.role = User.Role.ADMIN
        alice.save()

        assert signed_in.get("/user/me/").status_code == 200

    def test_a_hash_upgrade_at_sign_in_ends_nothing(self, client, client_of, alice, password, monkeypatch):
        signed_in, before = client_of(alice), User.objects.get().password
        monkeypatch.setattr(SmallArgon2PasswordHasher, "time_cost", 2)

        assert [login_status(client, "alice", password) for _ in range(2)] == [200, 200]

        after = User.objects.get()
        assert after.password != before
        assert (after.epoch, AuditEvent.objects.filter(event="authn_password_change").count()) == (0, 0)
        assert signed_in.get("/user/me/").status_code == 200

    def test_a_hash_upgrade_never_restores_an_old_password(self, client, alice, password, monkeypatch):
        signing_in = User.objects.get()
        set_and_save(alice)
        monkeypatch.setattr(SmallArgon2PasswordHasher, "time_cost", 2)

        signing_in.check_password(password)

        assert login_status(client, "alice", NEW) == 200


class TestChangepassword:
    @pytest.mark.parametrize("name", ["nobody", "nobody@example.com"])
    def test_an_unknown_account_is_one_sentence(self, alice, name):
        with pytest.raises(CommandError, match=rf"^No account has the username or email '{name}'\.$"):
            call_command("changepassword", name)

    def test_a_weak_password_changes_nothing(self, client_of, alice, type_in):
        type_in(*["alice"] * 6)
        signed_in = client_of(alice)

        with pytest.raises(CommandError, match="Aborting password change"):
            call_command("changepassword", "Alice", stderr=io.StringIO())

        assert signed_in.get("/user/me/").status_code == 200


class TestCreatesuperuser:
    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch):
        for name, value in {"USERNAME": "root", "EMAIL": "root@example.com", "PASSWORD": NEW}.items():
            monkeypatch.setenv(f"DJANGO_SUPERUSER_{name}", value)

    def test_the_environment_creates_an_admin(self, client, capsys):
        call_command("createsuperuser", interactive=False)

        assert capsys.readouterr().out == "Created the admin root.\n"
        client.set_tokens(**client.post("/token/", {"username": "root", "password": NEW}).json())
        assert client.get("/user/users/").status_code == 200
        assert AuditEvent.objects.filter(event="user_created").exists()

    def test_missing_values_are_prompted_for(self, monkeypatch, type_in):
        for name in ("USERNAME", "EMAIL", "PASSWORD"):
            monkeypatch.delenv(f"DJANGO_SUPERUSER_{name}")
        type_in(NEW, NEW, lines=["Carol", "carol@example.com"])

        call_command("createsuperuser")

        assert User.objects.active_admins().get(username="Carol").email == "carol@example.com"

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"PASSWORD": "password123"}, "The password cannot be used: This password is too common."),
            ({"USERNAME": "a@b"}, "The username cannot be used: Must be 1 to 64 characters"),
            ({"EMAIL": "nowhere"}, "The email cannot be used: Must be an address such as"),
            ({"PASSWORD": ""}, "DJANGO_SUPERUSER_PASSWORD is not set."),
            ({"USERNAME": "ALICE"}, "Another account has this username."),
            ({"EMAIL": "Alice@example.com"}, "Another account has this email."),
        ],
    )
    def test_the_rules_of_every_account_apply(self, alice, monkeypatch, values, sentence):
        for name, value in values.items():
            monkeypatch.setenv(f"DJANGO_SUPERUSER_{name}", value)

        with pytest.raises(CommandError) as refusal:
            call_command("createsuperuser", interactive=False)

        assert str(refusal.value).startswith(sentence)
        assert User.objects.get() == alice

    @pytest.mark.parametrize(
        ("passwords", "sentence"), [((NEW, "another"), "The two passwords differ."), ((), "No admin was created.")]
    )
    def test_without_a_password_no_admin_is_created(self, monkeypatch, type_in, passwords, sentence):
        monkeypatch.delenv("DJANGO_SUPERUSER_PASSWORD")
        type_in(*passwords)
        if not passwords:
            monkeypatch.delenv("DJANGO_SUPERUSER_USERNAME")

        with pytest.raises(CommandError) as refusal:
            call_command("createsuperuser")

        assert str(refusal.value) == sentence
        assert not User.objects.exists()
