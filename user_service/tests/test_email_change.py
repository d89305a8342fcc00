"""Changes of username and email: the password, the mails, the token, and cancellation."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Attempt, EmailToken, Mail, PasswordToken, User
from chassis.auth.tokens import issue_service_token
from tests.conftest import NEW_PASSWORD, Client, age_mails, confirm_reset, field_errors, login_status, send_mails
from tests.conftest import token_to as mailed_token

pytestmark = pytest.mark.django_db

ME, CONFIRM, RESEND = "/user/me/", "/user/email/confirm/", "/user/me/email-confirmation/"
OLD, NEW = "alice@example.com", "alicia@example.com"


@pytest.fixture
def own(client_of, alice):
    """Alice's client."""
    return client_of(alice)


@pytest.fixture
def ask(own, password):
    """Requests a new address for Alice; returns her account."""

    def patch(email=NEW):
        answer = own.patch(ME, {"email": email, "current_password": password})
        assert answer.status_code == 200, answer.json()
        return answer.json()

    return patch


@pytest.fixture
def token(ask):
    """The token in the mail to the new address."""
    ask()
    delivered()
    return mailed_token(NEW)


@pytest.fixture
def eve(client, password):
    """Registered herself, and got no mail yet."""
    client.post("/user/register/", {"username": "Eve", "email": "eve@example.com", "password": password})
    return User.objects.get(username="Eve")


def delivered():
    """Send planned mails; return (address, subject) of each."""
    return sorted((message.to[0], message.subject) for message in send_mails())


def confirm(client, token):
    return client.post(CONFIRM, {"token": token})


def assert_token_refused(answer):
    assert (answer.status_code, field_errors(answer)) == (400, [("token", "token_invalid")])


# The password


@pytest.mark.parametrize("change", [{"username": "Alicia"}, {"email": NEW}, {"username": "ALICE"}])
def test_a_stolen_access_token_changes_no_login(own, change):
    before = own.get(ME).json()

    missing = own.patch(ME, change)
    wrong = own.patch(ME, {**change, "current_password": "not her password"})

    assert (missing.status_code, field_errors(missing)) == (400, [("current_password", "required")])
    assert (wrong.status_code, field_errors(wrong)) == (400, [("current_password", "wrong_password")])
    assert own.get(ME).json() == before
    assert not Mail.objects.exists()


def test_password_guesses_are_counted(own, password):
    for _ in range(10):
        own.patch(ME, {"email": NEW, "current_password": "not her password"})

    answer = own.patch(ME, {"email": NEW, "current_password": password})

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    assert not Mail.objects.exists()


def test_an_unchanged_login_needs_no_password(own):
    before = own.get(ME).json()

    answer = own.patch(ME, before)

    assert (answer.status_code, answer.json()) == (200, before)
    assert not Attempt.objects.exists()


def test_a_new_username_applies_at_once_and_is_mailed(own, client, password):
    answer = own.patch(ME, {"username": "Alicia", "current_password": password})

    assert (answer.status_code, answer.json()["username"]) == (200, "Alicia")
    assert delivered() == [(OLD, "The username of your account has changed")]
    assert [login_status(client, login, password) for login in ("alicia", "Alice")] == [200, 401]


# A new address


def test_a_new_address_is_pending_and_both_addresses_get_a_mail(ask, client, password):
    account = ask()

    assert (account["email"], account["email_confirmed"], account["pending_email"]) == (OLD, True, NEW)
    assert "current_password" not in account
    assert delivered() == [(OLD, "A new address for your account"), (NEW, "Confirm your address")]
    assert login_status(client, NEW, password) == 401


def test_the_mailed_token_confirms_the_address_once(own, client, token, password):
    answer = confirm(client, token)

    account = own.get(ME).json()
    assert (answer.status_code, answer.content) == (204, b"")
    assert (account["email"], account["email_confirmed"], account["pending_email"]) == (NEW, True, None)
    assert delivered() == [(OLD, "The address of your account has changed")]
    assert login_status(client, NEW, password) == 200
    assert_token_refused(confirm(client, token))


def test_a_token_expires_after_a_day(client, token):
    left = EmailToken.objects.get().expires_at - timezone.now()
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)

    EmailToken.objects.update(expires_at=timezone.now())

    assert_token_refused(confirm(client, token))


@pytest.mark.parametrize("token", ["", "nonsense", "x" * 43, "x" * 101, None, 7])
def test_other_texts_confirm_nothing(client, alice, token):
    answer = confirm(client, token)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "token")


def test_password_and_email_tokens_are_not_interchangeable(client, alice, token):
    for_password = PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)

    assert_token_refused(confirm(client, for_password))
    assert_token_refused(confirm_reset(client, token))


def test_only_a_hash_of_the_token_is_stored(token):
    row = EmailToken.objects.values().get()

    assert token not in str(row)
    assert len(row["token_hash"]) == 64


def test_a_new_address_revokes_reset_tokens_of_the_old_one(client, token):
    client.post("/user/password-reset/", {"email": OLD})
    delivered()

    confirm(client, token)

    assert_token_refused(confirm_reset(client, mailed_token(OLD)))


def test_an_address_taken_meanwhile_is_a_conflict(client, token, alice, person):
    person("Eve", email="ALICIA@example.com")

    answer = confirm(client, token)

    alice.refresh_from_db()
    assert (answer.status_code, field_errors(answer)) == (409, [("email", "taken")])
    assert alice.email == OLD


def test_a_further_address_replaces_the_pending_one(ask, client, token):
    ask("other@example.com")
    delivered()

    assert_token_refused(confirm(client, token))
    assert confirm(client, mailed_token("other@example.com")).status_code == 204


CANCELLATIONS = {
    "another password": lambda own, admin, alice, password: own.post(
        "/user/me/password/", {"current_password": password, "new_password": NEW_PASSWORD}
    ),
    "a reset": lambda own, admin, alice, password: confirm_reset(
        own, PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)
    ),
    "signing out everywhere": lambda own, admin, alice, password: own.post("/token/logout-all/"),
    "an address by an admin": lambda own, admin, alice, password: admin.patch(
        f"/user/users/{alice.pk}/", {"email": "other@example.com"}
    ),
    "deactivation": lambda own, admin, alice, password: [
        admin.patch(f"/user/users/{alice.pk}/", {"is_active": is_active}) for is_active in (False, True)
    ],
}


@pytest.mark.parametrize("cancel", CANCELLATIONS.values(), ids=CANCELLATIONS)
def test_revoking_access_cancels_a_pending_change(client, client_of, own, ada, alice, password, token, cancel):
    own.post(RESEND)  # plans a second mail

    cancel(own, client_of(ada), alice, password)
    delivered()

    alice.refresh_from_db()
    assert alice.pending_email is None
    assert not EmailToken.objects.exists()
    assert_token_refused(confirm(client, token))
    assert Mail.objects.filter(address=NEW).latest("pk").reason == "the address no longer needs confirmation"


# Registration


def test_registration_asks_to_confirm_the_address(client, client_of, eve):
    signed_in = client_of(eve)
    assert signed_in.get(ME).json()["email_confirmed"] is False
    assert delivered() == [("eve@example.com", "Confirm your address")]

    answer = confirm(client, mailed_token("eve@example.com"))

    assert answer.status_code == 204
    assert signed_in.get(ME).json()["email_confirmed"] is True
    assert delivered() == []


def test_a_pending_address_keeps_the_token_of_the_current_one(client, client_of, eve, password):
    delivered()

    client_of(eve).patch(ME, {"email": NEW, "current_password": password})

    assert confirm(client, mailed_token("eve@example.com")).status_code == 204


def test_an_address_set_by_an_admin_is_confirmed(client_of, ada, alice, password):
    admin = client_of(ada)
    admin.post("/user/users/", {"username": "Carol", "email": "carol@example.com"})
    admin.post("/user/register/", {"username": "Eve", "email": "eve@example.com", "password": password})
    User.objects.filter(pk=alice.pk).update(email_confirmed=False)
    admin.patch(f"/user/users/{alice.pk}/", {"email": NEW})

    assert set(User.objects.values_list("email_confirmed", flat=True)) == {True}


def test_a_password_reset_confirms_the_address(client, eve):
    confirm_reset(client, PasswordToken.objects.issue(eve, Mail.Kind.PASSWORD_RESET))

    eve.refresh_from_db()
    assert eve.email_confirmed


def test_an_unconfirmed_address_gets_no_notices(client_of, ada, eve, password):
    delivered()

    client_of(eve).patch(ME, {"username": "Mallory", "email": NEW, "current_password": password})
    client_of(ada).patch(f"/user/users/{eve.pk}/", {"username": "Trudy"})

    assert [address for address, _ in delivered()] == [NEW]


def test_the_task_service_sees_only_confirmed_addresses(client, eve):
    task_service = Client()
    task_service.set_tokens(issue_service_token("task_service"))

    def seen():
        feed = task_service.get("/internal/users/changes/").json()["results"]
        looked_up = task_service.get("/internal/users/", {"ids": eve.pk}).json()["results"]
        return [row["user"]["email"] for row in feed] + [row["email"] for row in looked_up]

    assert seen() == ["", ""]
    position = task_service.get("/internal/users/changes/").json()["next_after"]
    delivered()
    confirm(client, mailed_token("eve@example.com"))

    assert seen() == ["eve@example.com"] * 2
    assert task_service.get("/internal/users/changes/", {"after": position}).json()["results"]


# Resending the mail


def test_the_confirmation_mail_can_be_sent_again(client, client_of, eve):
    delivered()
    age_mails(minutes=2)

    answer = client_of(eve).post(RESEND)

    assert (answer.status_code, answer.content) == (202, b"")
    assert delivered() == [("eve@example.com", "Confirm your address")]
    assert confirm(client, mailed_token("eve@example.com")).status_code == 204


def test_a_second_mail_within_a_minute_is_skipped(own, token):
    assert own.post(RESEND).status_code == 202
    assert delivered() == []


def test_a_confirmed_address_gets_no_confirmation_mail(own):
    assert own.post(RESEND).status_code == 409
    assert not Mail.objects.exists()


# Admins


@pytest.mark.parametrize(("field", "value"), [("username", "Countess"), ("email", "countess@example.com")])
def test_admins_need_the_password_to_change_their_own_login(client_of, ada, field, value):
    admin, path = client_of(ada), f"/user/users/{ada.pk}/"
    whole = {"username": "Ada", "email": "ada@example.com", "role": "admin", field: value}

    answers = [
        admin.patch(path, {field: value}),
        admin.put(path, whole),
        admin.patch("/user/users/", {"id": ada.pk, field: value}),
        admin.put("/user/users/", {**whole, "id": ada.pk}),
    ]

    refusal = (400, [(field, "use_own_account")])
    assert [(answer.status_code, field_errors(answer)) for answer in answers] == [refusal] * 4
    assert not Mail.objects.exists()


def test_admins_change_their_own_role_without_the_password(client_of, ada, grace):
    whole = {"username": "Ada", "email": "ada@example.com", "role": "user"}

    answer = client_of(ada).put(f"/user/users/{ada.pk}/", whole)

    assert (answer.status_code, answer.json()["role"]) == (200, "user")


# In parallel


@pytest.mark.django_db(transaction=True)
def test_one_of_two_parallel_uses_of_a_token_wins(client, alice, token, at_once):
    answers = at_once(*[lambda: confirm(client, token)] * 2, queued_at=alice)

    assert sorted(answer.status_code for answer in answers) == [204, 400]


@pytest.mark.django_db(transaction=True)
def test_a_racing_sign_out_leaves_no_pending_change(client, own, alice, token, at_once):
    at_once(lambda: confirm(client, token), lambda: own.post("/token/logout-all/"), queued_at=alice)

    alice.refresh_from_db()
    assert alice.pending_email is None
    assert not EmailToken.objects.exists()
