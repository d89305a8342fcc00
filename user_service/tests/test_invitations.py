"""Invitations: their state, resending them, and correcting the address."""

from datetime import timedelta

import pytest
from django.core import mail as post
from django.db.models import F
from django.utils import timezone

from accounts import jobs
from accounts.models import Mail, PasswordToken, User

pytestmark = pytest.mark.django_db

URL = "/user/users/"
CHOSEN = "eight red balloons"
SUBJECT = "You have been given an account"


@pytest.fixture
def admin(client_of, ada):
    return client_of(ada)


@pytest.fixture
def barbara(admin):
    """Was invited; the mail is sent."""
    answer = admin.post(URL, {"username": "Barbara", "email": "barbara@example.com"})
    jobs.deliver_mails()
    return answer.json()


def resend(client, account):
    return client.post(f"{URL}{account['id']}/invitation/")


def token_to(address):
    message = next(message for message in reversed(post.outbox) if message.to == [address])
    assert message.subject == SUBJECT
    return message.body.partition('"token": "')[2].partition('"')[0]


def choose(client, token):
    return client.post("/user/password-reset/confirm/", {"token": token, "new_password": CHOSEN})


def pass_a_minute():
    Mail.objects.update(sent_at=F("sent_at") - timedelta(minutes=2))


def get_invitation(admin, account):
    return admin.get(f"{URL}{account['id']}/").json()["invitation"]


def test_an_admin_sees_pending_invitations(admin, client, alice, barbara):
    carol = admin.post(URL, {"username": "Carol", "email": "carol@example.com"}).json()
    choose(client, token_to("barbara@example.com"))

    def found(**query):
        return {row["username"]: row["invitation"] for row in admin.get(URL, query).json()["results"]}

    assert (barbara["invitation"], carol["invitation"]) == ("pending", "pending")
    assert barbara["invited_at"] is not None
    assert found() == {"Ada": None, "Alice": None, "Barbara": "accepted", "Carol": "pending"}
    assert found(invitation="pending") == {"Carol": "pending"}
    assert found(invitation="accepted") == {"Barbara": "accepted"}
    assert found(invitation="accepted,pending").keys() == {"Barbara", "Carol"}
    assert admin.get(URL, {"invitation": "lost"}).status_code == 400


def test_an_old_account_is_pending_without_a_password(admin, barbara):
    User.objects.filter(pk=barbara["id"]).update(invited_at=None)

    assert get_invitation(admin, barbara) == "pending"
    assert resend(admin, barbara).status_code == 202


def test_an_invitation_can_be_sent_again(admin, client, barbara):
    first = token_to("barbara@example.com")
    pass_a_minute()

    answer = resend(admin, barbara)
    jobs.deliver_mails()

    second = token_to("barbara@example.com")
    assert (answer.status_code, answer.content) == (202, b"")
    assert second != first
    assert admin.get(f"{URL}{barbara['id']}/").json()["invited_at"] > barbara["invited_at"]
    assert [choose(client, token).status_code for token in (second, first)] == [204, 400]


def test_a_second_invitation_within_a_minute_is_skipped(admin, barbara):
    assert resend(admin, barbara).status_code == 202

    jobs.deliver_mails()

    assert len(post.outbox) == 1


def test_an_accepted_invitation_cannot_be_sent_again(admin, client, barbara):
    choose(client, token_to("barbara@example.com"))

    answer = resend(admin, barbara)

    assert answer.status_code == 409
    assert not Mail.objects.filter(state="planned").exists()


def test_registered_and_inactive_accounts_are_not_invited(admin, alice, barbara):
    admin.patch(f"{URL}{barbara['id']}/", {"is_active": False})

    answers = [resend(admin, barbara), resend(admin, {"id": alice.pk})]

    assert [answer.status_code for answer in answers] == [409, 409]


@pytest.mark.parametrize(("who", "status"), [("alice", 403), (None, 401)])
def test_only_admins_send_invitations(client, client_of, alice, barbara, who, status):
    caller = client_of(alice) if who else client

    assert resend(caller, barbara).status_code == status


def test_a_missing_account_is_404(admin):
    assert resend(admin, {"id": 900_001}).status_code == 404


def test_an_invitation_accepted_before_sending_is_skipped(admin, client, barbara):
    pass_a_minute()
    resend(admin, barbara)
    choose(client, token_to("barbara@example.com"))

    jobs.deliver_mails()

    assert len(post.outbox) == 1


class TestCorrectedAddress:
    def test_a_corrected_address_gets_a_new_invitation(self, admin, client, barbara):
        old = token_to("barbara@example.com")

        answer = admin.patch(f"{URL}{barbara['id']}/", {"email": "barbara@elsewhere.example"})
        jobs.deliver_mails()

        new = token_to("barbara@elsewhere.example")
        assert (answer.json()["invitation"], answer.json()["invited_at"] > barbara["invited_at"]) == ("pending", True)
        assert [choose(client, token).status_code for token in (old, new)] == [400, 204]
        assert get_invitation(admin, barbara) == "accepted"

    def test_the_wrong_address_gets_no_mail(self, admin, barbara):
        path = f"{URL}{barbara['id']}/"
        admin.patch(path, {"email": "barbara@elsewhere.example", "username": "Babs"})
        admin.patch(path, {"is_active": False})

        jobs.deliver_mails()

        assert [message.to for message in post.outbox[1:]] == []

    def test_a_pending_mail_goes_only_to_the_new_address(self, admin):
        account = admin.post(URL, {"username": "Carol", "email": "carol@example.com"}).json()
        admin.patch(f"{URL}{account['id']}/", {"email": "carol@elsewhere.example"})

        jobs.deliver_mails()

        assert [message.to for message in post.outbox] == [["carol@elsewhere.example"]]

    def test_an_accepted_account_is_not_invited_at_a_new_address(self, admin, client, barbara):
        choose(client, token_to("barbara@example.com"))

        admin.patch(f"{URL}{barbara['id']}/", {"email": "barbara@elsewhere.example"})
        jobs.deliver_mails()

        assert [message.subject for message in post.outbox[1:]] == ["The address of your account has changed"]

    @pytest.mark.parametrize("values", [{"username": "Babs"}, {"role": "admin"}, {"email": "barbara@example.com"}])
    def test_an_unchanged_address_sends_nothing(self, admin, barbara, values):
        admin.patch(f"{URL}{barbara['id']}/", values)

        assert not Mail.objects.filter(state="planned").exists()


@pytest.mark.django_db(transaction=True)
def test_parallel_accept_and_reinvite_use_the_token_once(admin, client, barbara, at_once):
    pass_a_minute()
    token, user = token_to("barbara@example.com"), User.objects.get(pk=barbara["id"])

    chosen, resent = at_once(lambda: choose(client, token), lambda: resend(admin, barbara), queued_at=user)
    jobs.deliver_mails()

    assert (chosen.status_code, resent.status_code in (202, 409)) == (204, True)
    assert not PasswordToken.objects.filter(expires_at__gt=timezone.now()).exists()
    assert len(post.outbox) == 1
