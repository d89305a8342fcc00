"""Notices: mails to the owner about changes of the account, with time, actor and advice."""

import getpass
import re
from datetime import timedelta

import pytest
from django.core import mail as post
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import jobs, mail_texts
from accounts.models import Mail, PasswordToken, Session, User

pytestmark = pytest.mark.django_db

NEW = "nine orange lanterns"
OWNER, ADMIN = "you, or someone who is signed in as you", "an administrator"
READER, SERVICE = "someone who can read the mails to this address, probably you", "the service"
PASSWORD_CHANGED = "The password of your account has changed"
SESSION_ENDED = "One of your sessions has been ended"


def sent_messages():
    before = len(post.outbox)
    jobs.deliver_mails()
    return post.outbox[before:]


class People:
    def __init__(self, client, client_of, alice, ada, password):
        self.stranger, self.alice, self.password = client, alice, password
        self.owner, self.admin = client_of(alice), client_of(ada)
        self.path = f"/user/users/{alice.pk}/"

    def patch_me(self, **values):
        return self.owner.patch("/user/me/", {**values, "current_password": self.password})


@pytest.fixture
def people(client, client_of, alice, ada, password):
    return People(client, client_of, alice, ada, password)


def change_password(people):
    people.owner.post("/user/me/password/", {"current_password": people.password, "new_password": NEW})


def reset_password(people):
    token = PasswordToken.objects.issue(people.alice, Mail.Kind.PASSWORD_RESET)
    people.stranger.post("/user/password-reset/confirm/", {"token": token, "new_password": NEW})


def changepassword(people):
    call_command("changepassword", "alice")


def reuse_a_refresh_token(people):
    old = {"refresh": people.owner.refresh_token}
    people.stranger.post("/token/refresh/", old)
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(seconds=11))
    assert people.stranger.post("/token/refresh/", old).status_code == 401


def end_one_session(people):
    people.admin.delete(f"{people.path}sessions/{people.alice.sessions.get().pk}/")


ACTS = [
    (change_password, PASSWORD_CHANGED, OWNER),
    (reset_password, PASSWORD_CHANGED, READER),
    (changepassword, PASSWORD_CHANGED, ADMIN),
    (lambda people: people.patch_me(username="Alicia"), "The username of your account has changed", OWNER),
    (lambda people: people.patch_me(email="a@b.example"), "A new address for your account", OWNER),
    (lambda people: people.patch_me(username="A", email="a@b.example"), "Your account has changed", OWNER),
    (lambda people: people.owner.post("/token/logout-all/"), "You have been signed out everywhere", OWNER),
    (reuse_a_refresh_token, SESSION_ENDED, SERVICE),
    (end_one_session, SESSION_ENDED, ADMIN),
    (lambda people: people.admin.delete(f"{people.path}sessions/"), "You have been signed out everywhere", ADMIN),
    (
        lambda people: people.admin.patch(people.path, {"username": "Alicia"}),
        "The username of your account has changed",
        ADMIN,
    ),
    (
        lambda people: people.admin.patch(people.path, {"email": "a@b.example"}),
        "The address of your account has changed",
        ADMIN,
    ),
    (
        lambda people: people.admin.patch(people.path, {"is_active": False}),
        "Your account has been deactivated",
        ADMIN,
    ),
    (
        lambda people: people.admin.patch(people.path, {"username": "A", "email": "a@b.example", "is_active": False}),
        "Your account has changed",
        ADMIN,
    ),
]
ACT_IDS = [str(number) for number in range(len(ACTS))]


@pytest.fixture(autouse=True)
def _typed(monkeypatch):
    monkeypatch.setattr(getpass, "getpass", lambda *args, **kwargs: NEW)


@pytest.mark.parametrize(("act", "subject", "by"), ACTS, ids=ACT_IDS)
def test_one_change_sends_one_notice_with_time_and_actor(people, act, subject, by):
    act(people)

    (message,) = [message for message in sent_messages() if message.to == ["alice@example.com"]]
    planned_at = Mail.objects.get(address="alice@example.com").planned_at
    assert message.subject == subject
    assert f"\nWhen: {planned_at:%Y-%m-%d %H:%M:%S} UTC\nBy: {by}\n" in message.body
    remedy = message.body.strip().rpartition("\n\n")[2]
    assert re.match(r"If (it was not you|you did not expect this), .+\.$", remedy)
    assert abs(timezone.now() - planned_at) < timedelta(minutes=5)


def test_a_notice_lists_all_changes_of_a_request(people):
    people.admin.patch(people.path, {"username": "Alicia", "email": "a@b.example", "is_active": False})

    (message,) = sent_messages()
    facts = ("new username", "new address", "deactivated")
    assert [fact in message.body for fact in facts] == [True] * 3


def test_a_former_address_is_not_advised_to_reset(people):
    people.admin.patch(people.path, {"email": "a@b.example"})

    (message,) = sent_messages()
    assert mail_texts.RESET_PASSWORD not in message.body


@pytest.mark.parametrize(("act", "subject", "by"), ACTS, ids=ACT_IDS)
def test_an_unconfirmed_address_gets_no_notices(people, act, subject, by):
    User.objects.filter(pk=people.alice.pk).update(email_confirmed=False)
    people.alice.refresh_from_db()

    act(people)

    subjects = {message.subject for message in sent_messages() if message.to == ["alice@example.com"]}
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
        lambda people: people.admin.patch(people.path, {"role": "admin"}),
        lambda people: people.admin.patch(people.path, {"username": "Alice", "is_active": True}),
        lambda people: people.owner.post("/user/me/password/", {"current_password": "no", "new_password": NEW}),
        lambda people: people.admin.patch(people.path, {"username": "ada", "email": "a@b.example"}),
    ],
)
def test_other_changes_send_no_notice(people, act):
    act(people)

    assert not Mail.objects.exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda people: people.admin.delete(f"{people.path}sessions/"),
        lambda people: people.admin.patch(people.path, {"username": "Alicia", "is_active": False}),
    ],
)
def test_a_repeated_request_sends_one_notice(people, act):
    act(people)
    act(people)

    assert len(sent_messages()) == 1


def test_an_admin_is_named_for_ending_their_own_sessions(client_of, ada):
    client_of(ada).delete(f"/user/users/{ada.pk}/sessions/")

    (message,) = sent_messages()
    assert f"By: {OWNER}" in message.body


def test_a_rollback_sends_no_notice(people):
    with transaction.atomic():
        people.alice.set_password(NEW)
        people.alice.save()
        transaction.set_rollback(True)

    assert not Mail.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_parallel_reuses_send_one_notice(people, at_once):
    old = {"refresh": people.owner.refresh_token}
    people.stranger.post("/token/refresh/", old)
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(seconds=11))

    answers = at_once(*[lambda: people.stranger.post("/token/refresh/", old)] * 2)

    assert {answer.status_code for answer in answers} == {401}
    assert len(sent_messages()) == 1
