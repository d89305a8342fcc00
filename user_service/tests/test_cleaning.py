"""The cleaning job deletes what has expired, and nothing else."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import jobs
from accounts.models import Attempt, Change, EmailToken, Mail, PasswordToken, Session, User
from tests.conftest import login_status

pytestmark = pytest.mark.django_db

FINISHED = {
    "sent": {"state": "sent", "sent_at": timezone.now()},
    "skipped": {"state": "skipped", "reason": "no active account has this address"},
    "failed": {"state": "failed", "reason": "550 no such user"},
}


def ago(**duration):
    return timezone.now() - timedelta(**duration)


def mail(planned_at, **values):
    keys = {"email_key": "alice@example.com", "mailbox_key": "alice@example.com"}
    return Mail.objects.create(kind=Mail.Kind.PASSWORD_RESET, planned_at=planned_at, **keys, **values)


def open_session(user):
    Session.objects.open(user)


def issue_password_token(user):
    PasswordToken.objects.issue(user, Mail.Kind.PASSWORD_RESET)


def issue_email_token(user):
    EmailToken.objects.issue(user, user.email)


@pytest.mark.parametrize(
    ("model", "create"),
    [(Session, open_session), (PasswordToken, issue_password_token), (EmailToken, issue_email_token)],
    ids=["sessions", "password tokens", "email tokens"],
)
def test_expired_rows_are_deleted_and_live_ones_kept(alice, model, create):
    lifetimes = {}
    for seconds in (60, -1, -10_000_000):
        create(alice)
        row = model.objects.latest("pk")
        lifetimes[row.pk] = seconds
        model.objects.filter(pk=row.pk).update(expires_at=ago(seconds=-seconds))

    jobs.clean()

    assert [lifetimes[pk] for pk in model.objects.values_list("pk", flat=True)] == [60]


def test_attempts_are_deleted_after_a_quiet_day(db):
    for key, last_at in [("recent", ago(hours=23, minutes=59)), ("quiet", ago(hours=24, minutes=1)), ("now", ago())]:
        Attempt.objects.create(key=key, failures=11, last_at=last_at)

    jobs.clean()

    assert set(Attempt.objects.values_list("key", "failures")) == {("recent", 11), ("now", 11)}


def test_a_blocked_login_stays_blocked(client, alice, password):
    for _ in range(10):
        login_status(client, "Alice", "a wrong guess")

    jobs.clean()

    assert login_status(client, "Alice", password) == 429


@pytest.mark.parametrize("state", FINISHED)
def test_finished_mails_are_deleted_after_seven_days(db, state):
    recent = mail(ago(days=6, hours=23), **FINISHED[state])
    mail(ago(days=7, minutes=1), **FINISHED[state])

    jobs.clean()

    assert Mail.objects.get() == recent


def test_planned_mails_accounts_and_changes_are_kept(client_of, ada, ivan, person):
    waiting = mail(ago(days=400))
    old = person("Old", date_joined=ago(days=4000), last_login=None)
    client_of(ada).delete(f"/user/users/{ivan.pk}/")
    changes = list(Change.objects.values_list())

    jobs.clean()

    assert Mail.objects.get() == waiting
    assert set(User.objects.all()) == {ada, old}
    assert list(Change.objects.values_list()) == changes != []


def test_cleaning_does_not_lift_the_limit_of_mails(alice):
    mail(timezone.now())
    jobs.deliver_mails()

    jobs.clean()
    second = mail(timezone.now())
    jobs.deliver_mails()

    second.refresh_from_db()
    assert second.state == "skipped"
