"""Notices: mails to the owner about changes of the account, with time, actor and advice."""

import getpass
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import mail_texts
from accounts.models import Mail, PasswordToken, Session, User
from tests.conftest import NEW_PASSWORD as NEW
from tests.conftest import PASSWORD, confirm_reset, send_mails

pytestmark = pytest.mark.django_db

OWNER, ADMIN = "you, or someone who is signed in as you", "an administrator"
READER, SERVICE = "someone who can read the mails to this address, probably you", "the service"
PASSWORD_CHANGED = "The password of your account has changed"
USERNAME_CHANGED = "The username of your account has changed"
SESSION_ENDED, SESSIONS_ENDED = "One of your sessions has been ended", "You have been signed out everywhere"
ADDRESS = {"email": "a@b.example"}
ALL = {"username": "A", "email": "a@b.example", "is_active": False}


@pytest.fixture
def people(client, client_of, alice, ada):
    """Alice with her client, an admin's client and her path there, and a stranger's client."""
    clients = {"owner": client_of(alice), "admin": client_of(ada), "stranger": client}
    return SimpleNamespace(alice=alice, path=f"/user/users/{alice.pk}/", **clients)


def change_password(people):
    people.owner.post("/user/me/password/", {"current_password": PASSWORD, "new_password": NEW})


def reset_password(people):
    confirm_reset(people.stranger, PasswordToken.objects.issue(people.alice, Mail.Kind.PASSWORD_RESET))


def rotate(people):
    """Refresh, and return the body with the old token, whose grace period is over."""
    old = {"refresh": people.owner.refresh_token}
    people.stranger.post("/token/refresh/", old)
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(seconds=11))
    return old


def reuse_a_refresh_token(people):
    assert people.stranger.post("/token/refresh/", rotate(people)).status_code == 401


def end_one_session(people):
    people.admin.delete(f"{people.path}sessions/{people.alice.sessions.get().pk}/")


def patch_me(**values):
    return lambda people: people.owner.patch("/user/me/", {**values, "current_password": PASSWORD})


def by_admin(**values):
    return lambda people: people.admin.patch(people.path, values)


def end_all_sessions(people):
    people.admin.delete(f"{people.path}sessions/")


ACTS = [
    (change_password, PASSWORD_CHANGED, OWNER),
    (reset_password, PASSWORD_CHANGED, READER),
    (lambda people: call_command("changepassword", "alice"), PASSWORD_CHANGED, ADMIN),
    (patch_me(username="Alicia"), USERNAME_CHANGED, OWNER),
    (patch_me(**ADDRESS), "A new address for your account", OWNER),
    (patch_me(username="A", **ADDRESS), "Your account has changed", OWNER),
    (lambda people: people.owner.post("/token/logout-all/"), SESSIONS_ENDED, OWNER),
    (reuse_a_refresh_token, SESSION_ENDED, SERVICE),
    (end_one_session, SESSION_ENDED, ADMIN),
    (end_all_sessions, SESSIONS_ENDED, ADMIN),
    (by_admin(username="Alicia"), USERNAME_CHANGED, ADMIN),
    (by_admin(**ADDRESS), "The address of your account has changed", ADMIN),
    (by_admin(is_active=False), "Your account has been deactivated", ADMIN),
    (by_admin(**ALL), "Your account has changed", ADMIN),
]
ACT_IDS = [str(number) for number in range(len(ACTS))]


@pytest.fixture(autouse=True)
def _typed(monkeypatch):
    monkeypatch.setattr(getpass, "getpass", lambda *args, **kwargs: NEW)


@pytest.mark.parametrize(("act", "subject", "by"), ACTS, ids=ACT_IDS)
def test_one_change_sends_one_notice_with_time_and_actor(people, act, subject, by):
    act(people)

    (message,) = [message for message in send_mails() if message.to == ["alice@example.com"]]
    planned_at = Mail.objects.get(address="alice@example.com").planned_at
    assert message.subject == subject
    assert f"\nWhen: {planned_at:%Y-%m-%d %H:%M:%S} UTC\nBy: {by}\n" in message.body
    remedy = message.body.strip().rpartition("\n\n")[2]
    assert re.match(r"If (it was not you|you did not expect this), .+\.$", remedy)
    assert abs(timezone.now() - planned_at) < timedelta(minutes=5)


def test_a_notice_lists_all_changes_of_a_request(people):
    by_admin(**ALL)(people)

    (message,) = send_mails()
    assert all(fact in message.body for fact in ("new username", "new address", "deactivated"))
    assert mail_texts.RESET_PASSWORD not in message.body  # it would go to the new address


@pytest.mark.parametrize(("act", "subject", "by"), ACTS, ids=ACT_IDS)
def test_an_unconfirmed_address_gets_no_notices(people, act, subject, by):
    User.objects.filter(pk=people.alice.pk).update(email_confirmed=False)
    people.alice.refresh_from_db()

    act(people)

    subjects = {message.subject for message in send_mails() if message.to == ["alice@example.com"]}
    assert subjects == ({PASSWORD_CHANGED} if by == READER else set())  # the mailed token confirmed the address


def test_an_unreachable_address_gets_no_notices(people):
    User.objects.filter(pk=people.alice.pk).update(email="a@tm.invalid", email_key="a@tm.invalid")

    change_password(people)

    assert not Mail.objects.exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda people: people.owner.post("/token/logout/", {"refresh": people.owner.refresh_token}),
        lambda people: people.owner.delete(f"/user/me/sessions/{people.alice.sessions.get().pk}/"),
        lambda people: people.owner.post("/user/me/password/", {"current_password": "no", "new_password": NEW}),
        by_admin(role="admin"),
        by_admin(username="Alice", is_active=True),
        by_admin(username="ada", **ADDRESS),  # a conflict
    ],
)
def test_other_changes_send_no_notice(people, act):
    act(people)

    assert not Mail.objects.exists()


@pytest.mark.parametrize("act", [end_all_sessions, by_admin(username="Alicia", is_active=False)])
def test_a_repeated_request_sends_one_notice(people, act):
    act(people)
    act(people)

    assert len(send_mails()) == 1


def test_an_admin_is_named_for_ending_their_own_sessions(client_of, ada):
    client_of(ada).delete(f"/user/users/{ada.pk}/sessions/")

    (message,) = send_mails()
    assert f"By: {OWNER}" in message.body


def test_a_deleted_account_gets_no_notice(people):
    change_password(people)
    people.admin.delete(people.path)

    assert send_mails() == []
    assert Mail.objects.get().reason == "the account was deleted"


def test_a_rollback_sends_no_notice(people):
    with transaction.atomic():
        people.alice.set_password(NEW)
        people.alice.save()
        transaction.set_rollback(True)

    assert not Mail.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_parallel_reuses_send_one_notice(people, at_once):
    old = rotate(people)

    answers = at_once(*[lambda: people.stranger.post("/token/refresh/", old)] * 2)

    assert {answer.status_code for answer in answers} == {401}
    assert len(send_mails()) == 1
