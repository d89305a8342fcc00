"""Limits of mails that strangers can have sent to a mailbox."""

import pytest
from django.core import mail as post

from accounts import jobs
from accounts.models import Mail, PasswordToken, User
from tests.conftest import age_mails

pytestmark = pytest.mark.django_db

TOO_SOON, TOO_MANY = "the same mail was sent a moment ago", "the mailbox got 10 mails within a day"


@pytest.fixture
def plus(person):
    """Twelve accounts with addresses of one mailbox."""
    return [person(f"Eve{number}", email=f"Victim+{number}@Example.com") for number in range(12)]


def ask(client, *users):
    for user in users:
        assert client.post("/user/password-reset/", {"email": user.email}).status_code == 202


def ask_every_two_minutes(client, users):
    for user in users:
        ask(client, user)
        deliver()
        age_mails(minutes=2)


def deliver():
    while jobs.deliver_mails():
        pass


def reasons():
    return list(Mail.objects.exclude(reason="").order_by("pk").values_list("reason", flat=True))


def test_plus_addresses_are_one_mailbox(client, plus, alice):
    ask(client, *plus[:3], alice)

    deliver()

    assert [message.to[0] for message in post.outbox] == ["Victim+0@Example.com", "alice@example.com"]
    assert reasons() == [TOO_SOON] * 2
    assert PasswordToken.objects.count() == 2


def test_a_mailbox_gets_ten_mails_within_a_day(client, plus):
    ask_every_two_minutes(client, plus)

    assert (len(post.outbox), reasons()) == (10, [TOO_MANY] * 2)
    age_mails(days=1)
    ask(client, plus[0])
    deliver()
    assert len(post.outbox) == 11


def test_confirmation_mails_count_too(client, plus, password):
    ask_every_two_minutes(client, plus[:10])

    client.post("/user/register/", {"username": "Mallory", "email": "victim+m@example.com", "password": password})
    deliver()

    assert reasons() == [TOO_MANY]


def test_plus_address_sign_ups_send_one_mail_a_minute(client, db, password):
    for number in range(3):
        body = {"username": f"Eve{number}", "email": f"victim+{number}@example.com", "password": password}
        client.post("/user/register/", body)

    deliver()

    assert (len(post.outbox), User.objects.count()) == (1, 3)


def test_mails_requested_by_an_admin_are_counted_separately(client, client_of, ada, plus):
    ask_every_two_minutes(client, plus[:10])
    ask(client, plus[0])

    client_of(ada).post(f"/user/users/{plus[0].pk}/password-reset/")
    client_of(ada).post("/user/users/", {"username": "Carol", "email": "victim+carol@example.com"})
    deliver()

    assert [message.to[0] for message in post.outbox[10:]] == ["Victim+0@Example.com", "victim+carol@example.com"]


def test_mails_being_sent_by_another_worker_count(client, plus):
    ask(client, plus[0])
    Mail.objects.claim(1, lease_seconds=60)  # and is sending it
    ask(client, plus[1])

    deliver()

    assert (post.outbox, reasons()) == ([], [TOO_SOON])


def test_mails_planned_by_the_previous_version_are_limited(client, plus):
    ask(client, plus[0])
    deliver()
    Mail.objects.create(kind=Mail.Kind.PASSWORD_RESET, email_key=plus[1].email_key)

    deliver()

    assert (len(post.outbox), reasons()) == (1, [TOO_SOON])
