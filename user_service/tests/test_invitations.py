"""Invitations: their state, resending them, and correcting the address."""

import pytest
from django.core import mail as post
from django.utils import timezone

from accounts.models import Mail, PasswordToken, User
from tests.conftest import NEW_PASSWORD, age_mails, confirm_reset, login_status, send_mails, token_to

pytestmark = pytest.mark.django_db

URL = "/user/users/"
BARBARA, ELSEWHERE = "barbara@example.com", "barbara@elsewhere.example"


@pytest.fixture
def admin(client_of, ada):
    return client_of(ada)


@pytest.fixture
def barbara(admin):
    """Was invited; the mail is sent."""
    answer = admin.post(URL, {"username": "Barbara", "email": BARBARA})
    send_mails()
    return answer.json()


@pytest.fixture
def accepted(client, barbara):
    """Barbara, who has chosen a password."""
    confirm_reset(client, token_to(BARBARA))
    return barbara


def path_of(account):
    return f"{URL}{account['id']}/"


def resend(client, account):
    return client.post(f"{path_of(account)}invitation/")


def sent_to():
    """Send planned mails; return the recipient of each."""
    return [message.to[0] for message in send_mails()]


def test_an_invited_user_chooses_a_password_and_signs_in(client, barbara):
    answer = confirm_reset(client, token_to(BARBARA))

    assert (answer.status_code, login_status(client, "Barbara", NEW_PASSWORD)) == (204, 200)


def test_an_admin_sees_pending_invitations(admin, alice, accepted):
    carol = admin.post(URL, {"username": "Carol", "email": "carol@example.com"}).json()

    def found(**query):
        return {row["username"]: row["invitation"] for row in admin.get(URL, query).json()["results"]}

    assert (accepted["invitation"], carol["invitation"]) == ("pending", "pending")
    assert accepted["invited_at"] is not None
    assert found() == {"Ada": None, "Alice": None, "Barbara": "accepted", "Carol": "pending"}
    assert found(invitation="pending") == {"Carol": "pending"}
    assert found(invitation="accepted") == {"Barbara": "accepted"}
    assert found(invitation="accepted,pending").keys() == {"Barbara", "Carol"}
    assert admin.get(URL, {"invitation": "lost"}).status_code == 400


def test_an_old_account_is_pending_without_a_password(admin, barbara):
    User.objects.filter(pk=barbara["id"]).update(invited_at=None)

    assert admin.get(path_of(barbara)).json()["invitation"] == "pending"
    assert resend(admin, barbara).status_code == 202


def test_an_invitation_can_be_sent_again(admin, client, barbara):
    first = token_to(BARBARA)
    age_mails(minutes=2)

    answer = resend(admin, barbara)

    assert (answer.status_code, answer.content, sent_to()) == (202, b"", [BARBARA])
    assert admin.get(path_of(barbara)).json()["invited_at"] > barbara["invited_at"]
    assert [confirm_reset(client, token).status_code for token in (token_to(BARBARA), first)] == [204, 400]


def test_a_second_invitation_within_a_minute_is_skipped(admin, barbara):
    assert resend(admin, barbara).status_code == 202
    assert sent_to() == []


def test_only_active_and_pending_accounts_are_invited(admin, alice, accepted):
    carol = admin.post(URL, {"username": "Carol", "email": "carol@example.com"}).json()
    send_mails()
    admin.patch(path_of(carol), {"is_active": False})

    statuses = [resend(admin, account).status_code for account in (accepted, {"id": alice.pk}, carol)]

    assert statuses == [409] * 3
    assert not Mail.objects.filter(state="planned").exists()


def test_a_missing_account_is_404(admin):
    assert resend(admin, {"id": 900_001}).status_code == 404


def test_an_invitation_accepted_before_sending_is_skipped(admin, client, barbara):
    age_mails(minutes=2)
    resend(admin, barbara)
    confirm_reset(client, token_to(BARBARA))

    assert sent_to() == []


class TestCorrectedAddress:
    def test_a_corrected_address_gets_a_new_invitation(self, admin, client, barbara):
        old = token_to(BARBARA)

        answer = admin.patch(path_of(barbara), {"email": ELSEWHERE}).json()

        assert sent_to() == [ELSEWHERE]
        assert (answer["invitation"], answer["invited_at"] > barbara["invited_at"]) == ("pending", True)
        assert [confirm_reset(client, token).status_code for token in (old, token_to(ELSEWHERE))] == [400, 204]
        assert admin.get(path_of(barbara)).json()["invitation"] == "accepted"

    def test_the_wrong_address_gets_no_mail(self, admin, barbara):
        admin.patch(path_of(barbara), {"email": ELSEWHERE, "username": "Babs"})
        admin.patch(path_of(barbara), {"is_active": False})

        assert sent_to() == []

    def test_a_planned_mail_goes_only_to_the_new_address(self, admin):
        carol = admin.post(URL, {"username": "Carol", "email": "carol@example.com"}).json()
        admin.patch(path_of(carol), {"email": "carol@elsewhere.example"})

        assert sent_to() == ["carol@elsewhere.example"]

    def test_an_accepted_account_is_not_invited_at_a_new_address(self, admin, accepted):
        admin.patch(path_of(accepted), {"email": ELSEWHERE})

        assert [message.subject for message in send_mails()] == ["The address of your account has changed"]

    @pytest.mark.parametrize("values", [{"username": "Babs"}, {"role": "admin"}, {"email": BARBARA}])
    def test_an_unchanged_address_sends_nothing(self, admin, barbara, values):
        admin.patch(path_of(barbara), values)

        assert not Mail.objects.filter(state="planned").exists()


@pytest.mark.django_db(transaction=True)
def test_parallel_accept_and_reinvite_use_the_token_once(admin, client, barbara, at_once):
    age_mails(minutes=2)
    token, user = token_to(BARBARA), User.objects.get(pk=barbara["id"])

    chosen, resent = at_once(lambda: confirm_reset(client, token), lambda: resend(admin, barbara), queued_at=user)
    send_mails()

    assert (chosen.status_code, resent.status_code in (202, 409)) == (204, True)
    assert not PasswordToken.objects.filter(expires_at__gt=timezone.now()).exists()
    assert len(post.outbox) == 1
