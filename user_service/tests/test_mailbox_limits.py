"""Limits of mails that strangers can have sent to a mailbox."""

from datetime import timedelta

import pytest
from django.core import mail as post
from django.db.models import F

from accounts import jobs
from accounts.models import Mail, PasswordToken, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def plus(person):
    """Twelve accounts with addresses of one mailbox."""
    return [person(f"Eve{number}", email=f"Victim+{number}@Example.com") for number in range(12)]


def ask(client, email):
    assert client.post("/user/password-reset/", {"email": email}).status_code == 202


def pass_time(**duration):
    instants = ["planned_at", "due_at", "give_up_at", "sent_at"]
    Mail.objects.update(**{name: F(name) - timedelta(**duration) for name in instants})


def deliver():
    while jobs.deliver_mails():
        pass


def reasons():
    return list(Mail.objects.exclude(reason="").order_by("pk").values_list("reason", flat=True))


def test_plus_addresses_are_one_mailbox(client, plus):
    for user in plus[:3]:
        ask(client, user.email)

    deliver()

    assert [message.to for message in post.outbox] == [["Victim+0@Example.com"]]
    assert reasons() == ["the same mail was sent a moment ago"] * 2
    assert PasswordToken.objects.count() == 1


def test_a_mailbox_gets_ten_mails_within_a_day(client, plus):
    for user in plus:
        ask(client, user.email)
        deliver()
        pass_time(minutes=2)

    assert len(post.outbox) == 10
    assert reasons() == ["the mailbox got 10 mails within a day"] * 2
    pass_time(days=1)
    ask(client, plus[0].email)
    deliver()
    assert len(post.outbox) == 11


def test_confirmation_mails_count_too(client, plus, password):
    for user in plus[:10]:
        ask(client, user.email)
        deliver()
        pass_time(minutes=2)

    client.post("/user/register/", {"username": "Mallory", "email": "victim+m@example.com", "password": password})
    deliver()

    assert reasons() == ["the mailbox got 10 mails within a day"]


def test_plus_address_sign_ups_send_one_mail_a_minute(client, db, password):
    for number in range(3):
        body = {"username": f"Eve{number}", "email": f"victim+{number}@example.com", "password": password}
        client.post("/user/register/", body)

    deliver()

    assert len(post.outbox) == 1
    assert User.objects.count() == 3


def test_other_mailboxes_are_unaffected(client, plus, alice):
    for email in (plus[0].email, plus[1].email, alice.email):
        ask(client, email)

    deliver()

    assert [message.to[0] for message in post.outbox] == ["Victim+0@Example.com", "alice@example.com"]


def test_mails_requested_by_an_admin_are_counted_separately(client, client_of, ada, plus):
    for user in plus:
        ask(client, user.email)
        deliver()
        pass_time(minutes=2)
    ask(client, plus[0].email)

    client_of(ada).post(f"/user/users/{plus[0].pk}/password-reset/")
    client_of(ada).post("/user/users/", {"username": "Carol", "email": "victim+carol@example.com"})
    deliver()

    assert [message.to[0] for message in post.outbox[10:]] == ["Victim+0@Example.com", "victim+carol@example.com"]


def test_mails_being_sent_by_another_worker_count(client, plus):
    ask(client, plus[0].email)
    Mail.objects.claim(1, lease_seconds=60)  # and is sending it
    ask(client, plus[1].email)

    deliver()

    assert (post.outbox, reasons()) == ([], ["the same mail was sent a moment ago"])


def test_mails_planned_by_the_previous_version_are_limited(client, plus):
    ask(client, plus[0].email)
    deliver()
    Mail.objects.create(kind=Mail.Kind.PASSWORD_RESET, email_key=plus[1].email_key)

    deliver()

    assert (len(post.outbox), reasons()) == (1, ["the same mail was sent a moment ago"])
