from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import jobs
from accounts.models import Attempt, Change, Mail, PasswordToken, Session, User

pytestmark = pytest.mark.django_db

FINISHED = {
    "sent": {"state": "sent", "sent_at": timezone.now()},
    "skipped": {"state": "skipped", "reason": "no active account has this address"},
    "failed": {"state": "failed", "reason": "550 no such user"},
}


def ago(**duration):
    return timezone.now() - timedelta(**duration)


def mail(planned_at, **values):
    return Mail.objects.create(
        kind=Mail.Kind.PASSWORD_RESET,
        email_key="alice@example.com",
        mailbox_key="alice@example.com",
        planned_at=planned_at,
        **values,
    )


def session(user, expires_at):
    opened = Session.objects.open(user)
    Session.objects.filter(pk=opened.pk).update(expires_at=expires_at)
    return opened


def token(user, expires_at):
    PasswordToken.objects.issue(user, Mail.Kind.PASSWORD_RESET)
    created = PasswordToken.objects.latest("id")
    PasswordToken.objects.filter(pk=created.pk).update(expires_at=expires_at)
    return created


def test_expired_sessions_are_deleted_and_live_ones_kept(alice, bob):
    living = [session(alice, ago(minutes=-1)), session(bob, ago(minutes=-1))]
    session(bob, ago(seconds=1))
    session(alice, ago(days=400))

    jobs.clean()

    assert list(Session.objects.order_by("id")) == living


def test_expired_tokens_are_deleted_and_valid_ones_kept(alice, bob):
    good = token(alice, ago(minutes=-1))
    token(alice, ago(seconds=1))
    token(bob, ago(days=7))

    jobs.clean()

    assert PasswordToken.objects.get() == good


def test_attempts_are_deleted_after_a_quiet_day(alice):
    for key, last_at in [("recent", ago(hours=23, minutes=59)), ("quiet", ago(hours=24, minutes=1)), ("now", ago())]:
        Attempt.objects.create(key=key, failures=11, last_at=last_at)

    jobs.clean()

    assert set(Attempt.objects.values_list("key", "failures")) == {("recent", 11), ("now", 11)}


def test_a_blocked_login_stays_blocked(client, alice, password):
    for _ in range(10):
        client.post("/token/", {"username": "Alice", "password": "a wrong guess"})

    jobs.clean()

    assert client.post("/token/", {"username": "Alice", "password": password}).status_code == 429


@pytest.mark.parametrize("state", FINISHED)
def test_finished_mails_are_deleted_after_seven_days(state):
    recent = mail(ago(days=6, hours=23), **FINISHED[state])
    mail(ago(days=7, minutes=1), **FINISHED[state])

    jobs.clean()

    assert Mail.objects.get() == recent


def test_pending_mails_are_never_deleted(alice):
    waiting = mail(ago(days=400))

    jobs.clean()

    assert Mail.objects.get() == waiting


def test_cleaning_does_not_lift_the_limit_of_mails(alice):
    mail(timezone.now())
    jobs.deliver_mails()

    jobs.clean()
    second = mail(timezone.now())
    jobs.deliver_mails()

    second.refresh_from_db()
    assert second.state == "skipped"


def test_accounts_and_changes_are_kept(client_of, ada, ivan, person):
    old = person("Old", date_joined=ago(days=4000), last_login=None)
    client_of(ada).delete(f"/user/users/{ivan.pk}/")
    changes = list(Change.objects.values_list())

    jobs.clean()

    assert set(User.objects.all()) == {ada, old}
    assert list(Change.objects.values_list()) == changes != []


def test_cleaning_an_empty_database_succeeds(db):
    assert not jobs.clean()
