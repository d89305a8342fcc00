"""Changes of username and email: the password, the mails, the token, and cancellation."""

from datetime import timedelta

import pytest
from django.core import mail as post
from django.utils import timezone

from accounts import jobs
from accounts.models import Attempt, EmailToken, Mail, PasswordToken, User
from chassis.auth.tokens import issue_service_token
from tests.conftest import Client

pytestmark = pytest.mark.django_db

ME, CONFIRM, RESEND = "/user/me/", "/user/email/confirm/", "/user/me/email-confirmation/"
NEW = "alicia@example.com"


@pytest.fixture
def internal():
    """A client with the service token of the task service."""
    client = Client()
    client.set_tokens(issue_service_token("task_service"))
    return client


def get_errors(answer):
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


def ask(client, password, email=NEW):
    answer = client.patch(ME, {"email": email, "current_password": password})
    assert answer.status_code == 200, answer.json()
    return answer.json()


def delivered():
    """Send planned mails; return (address, subject) of each."""
    before = len(post.outbox)
    jobs.deliver_mails()
    return sorted((message.to[0], message.subject) for message in post.outbox[before:])


def token_to(address):
    message = next(
        message for message in reversed(post.outbox) if message.to == [address] and '"token"' in message.body
    )
    return message.body.partition('"token": "')[2].partition('"')[0]


def confirm(client, token):
    return client.post(CONFIRM, {"token": token})


# The password


@pytest.mark.parametrize("change", [{"username": "Alicia"}, {"email": NEW}, {"username": "ALICE"}])
def test_a_stolen_access_token_changes_no_login(client_of, alice, change):
    client = client_of(alice)
    before = client.get(ME).json()

    missing = client.patch(ME, change)
    wrong = client.patch(ME, {**change, "current_password": "not her password"})

    assert (missing.status_code, get_errors(missing)) == (400, [("current_password", "required")])
    assert (wrong.status_code, get_errors(wrong)) == (400, [("current_password", "wrong_password")])
    assert client.get(ME).json() == before
    assert not Mail.objects.exists()


def test_password_guesses_are_counted(client_of, alice, password):
    client = client_of(alice)
    for _ in range(10):
        client.patch(ME, {"email": NEW, "current_password": "not her password"})

    answer = client.patch(ME, {"email": NEW, "current_password": password})

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    assert not Mail.objects.exists()


def test_an_unchanged_login_needs_no_password(client_of, alice):
    client = client_of(alice)
    before = client.get(ME).json()

    answer = client.patch(ME, before)

    assert (answer.status_code, answer.json()) == (200, before)
    assert not Attempt.objects.exists()


def test_the_password_is_never_in_a_response(client_of, alice, password):
    answer = client_of(alice).patch(ME, {"email": NEW, "current_password": password})

    assert "current_password" not in answer.json()
    assert password not in answer.content.decode()


# A new username


def test_a_new_username_applies_at_once_and_is_mailed(client_of, alice, password):
    answer = client_of(alice).patch(ME, {"username": "Alicia", "current_password": password})

    assert (answer.status_code, answer.json()["username"]) == (200, "Alicia")
    assert delivered() == [("alice@example.com", "The username of your account has changed")]


# A new address


def test_a_new_address_is_pending_and_both_addresses_get_a_mail(client_of, client, alice, password):
    answer = ask(client_of(alice), password)

    assert (answer["email"], answer["email_confirmed"], answer["pending_email"]) == ("alice@example.com", True, NEW)
    assert delivered() == [
        ("alice@example.com", "A new address for your account"),
        (NEW, "Confirm your address"),
    ]
    assert client.post("/token/", {"username": NEW, "password": password}).status_code == 401


def test_the_mailed_token_confirms_the_address(client_of, client, alice, password):
    signed_in = client_of(alice)
    ask(signed_in, password)
    delivered()

    answer = confirm(client, token_to(NEW))

    assert (answer.status_code, answer.content) == (204, b"")
    seen = signed_in.get(ME).json()
    assert (seen["email"], seen["email_confirmed"], seen["pending_email"]) == (NEW, True, None)
    assert delivered() == [("alice@example.com", "The address of your account has changed")]
    assert client.post("/token/", {"username": NEW, "password": password}).status_code == 200


def test_a_token_works_once(client_of, client, alice, password):
    ask(client_of(alice), password)
    delivered()
    token = token_to(NEW)

    answers = [confirm(client, token) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 400]
    assert get_errors(answers[1]) == [("token", "token_invalid")]


def test_a_token_expires_after_a_day(client_of, client, alice, password):
    ask(client_of(alice), password)
    delivered()
    left = EmailToken.objects.get().expires_at - timezone.now()
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)

    EmailToken.objects.update(expires_at=timezone.now())

    assert get_errors(confirm(client, token_to(NEW))) == [("token", "token_invalid")]


@pytest.mark.parametrize("token", ["", "nonsense", "x" * 43, "x" * 101, None, 7])
def test_other_kinds_of_token_confirm_nothing(client, alice, token):
    answer = confirm(client, token)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "token")


def test_password_and_email_tokens_are_not_interchangeable(client_of, client, alice, password):
    ask(client_of(alice), password)
    delivered()
    for_password = PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)

    swapped = [
        confirm(client, for_password),
        client.post("/user/password-reset/confirm/", {"token": token_to(NEW), "new_password": "nine orange lanterns"}),
    ]

    assert [get_errors(answer) for answer in swapped] == [[("token", "token_invalid")]] * 2


def test_only_a_hash_of_the_token_is_stored(client_of, alice, password):
    ask(client_of(alice), password)
    delivered()

    row = EmailToken.objects.values().get()

    assert token_to(NEW) not in str(row)
    assert len(row["token_hash"]) == 64


def test_a_new_address_revokes_reset_tokens_of_the_old_one(client_of, client, alice, password):
    ask(client_of(alice), password)
    client.post("/user/password-reset/", {"email": "alice@example.com"})
    delivered()
    for_password = token_to("alice@example.com")

    confirm(client, token_to(NEW))
    answer = client.post(
        "/user/password-reset/confirm/", {"token": for_password, "new_password": "nine orange lanterns"}
    )

    assert get_errors(answer) == [("token", "token_invalid")]


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@example.com"])
def test_an_address_in_use_is_a_conflict(client_of, alice, bob, password, email):
    answer = client_of(alice).patch(ME, {"email": email, "current_password": password})

    assert (answer.status_code, get_errors(answer)) == (409, [("email", "taken")])
    assert not Mail.objects.exists()


def test_an_address_taken_meanwhile_is_a_conflict(client_of, client, alice, person, password):
    ask(client_of(alice), password)
    delivered()
    person("Eve", email="ALICIA@example.com")

    answer = confirm(client, token_to(NEW))

    alice.refresh_from_db()
    assert (answer.status_code, get_errors(answer)) == (409, [("email", "taken")])
    assert alice.email == "alice@example.com"


def test_a_further_address_replaces_the_pending_one(client_of, client, alice, password):
    signed_in = client_of(alice)
    ask(signed_in, password)
    delivered()
    ask(signed_in, password, "other@example.com")
    delivered()

    assert get_errors(confirm(client, token_to(NEW))) == [("token", "token_invalid")]
    assert confirm(client, token_to("other@example.com")).status_code == 204


def reset(client, admin, alice, password):
    token = PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)
    client.post("/user/password-reset/confirm/", {"token": token, "new_password": "nine orange lanterns"})


CANCELLATIONS = {
    "another password": lambda client, admin, alice, password: client.post(
        "/user/me/password/", {"current_password": password, "new_password": "nine orange lanterns"}
    ),
    "a reset": reset,
    "signing out everywhere": lambda client, admin, alice, password: client.post("/token/logout-all/"),
    "an address by an admin": lambda client, admin, alice, password: admin.patch(
        f"/user/users/{alice.pk}/", {"email": "other@example.com"}
    ),
    "deactivation": lambda client, admin, alice, password: [
        admin.patch(f"/user/users/{alice.pk}/", {"is_active": is_active}) for is_active in (False, True)
    ],
}


@pytest.mark.parametrize("cancel", CANCELLATIONS.values(), ids=CANCELLATIONS)
@pytest.mark.parametrize("is_sent", [True, False])
def test_revoking_access_cancels_a_pending_change(client, client_of, ada, alice, password, cancel, is_sent):
    signed_in = client_of(alice)
    ask(signed_in, password)
    if is_sent:
        delivered()

    cancel(signed_in, client_of(ada), alice, password)

    alice.refresh_from_db()
    delivered()
    assert alice.pending_email is None
    assert not EmailToken.objects.exists()
    assert is_sent or Mail.objects.get(address=NEW).reason == "the address no longer needs confirmation"
    assert not is_sent or get_errors(confirm(client, token_to(NEW))) == [("token", "token_invalid")]


# Registration


def register(client, password, **more):
    body = {"username": "Eve", "email": "eve@example.com", "password": password}
    return client.post("/user/register/", {**body, **more})


def test_registration_asks_to_confirm_the_address(client, client_of, password):
    register(client, password)
    eve = User.objects.get()
    signed_in = client_of(eve)
    assert signed_in.get(ME).json()["email_confirmed"] is False
    assert delivered() == [("eve@example.com", "Confirm your address")]

    answer = confirm(client, token_to("eve@example.com"))

    assert answer.status_code == 204
    assert signed_in.get(ME).json()["email_confirmed"] is True
    assert delivered() == []


def test_an_address_set_by_an_admin_is_confirmed(client_of, ada, alice, password):
    admin = client_of(ada)
    admin.post("/user/users/", {"username": "Carol", "email": "carol@example.com"})
    register(admin, password)
    User.objects.filter(pk=alice.pk).update(email_confirmed=False)
    admin.patch(f"/user/users/{alice.pk}/", {"email": NEW})

    assert set(User.objects.values_list("email_confirmed", flat=True)) == {True}


def test_a_password_reset_confirms_the_address(client, client_of, password):
    register(client, password)
    client.post("/user/password-reset/", {"email": "eve@example.com"})
    delivered()
    message = next(message for message in post.outbox if message.subject == "Choose a new password")
    token = message.body.partition('"token": "')[2].partition('"')[0]

    client.post("/user/password-reset/confirm/", {"token": token, "new_password": "nine orange lanterns"})

    assert User.objects.get().email_confirmed


def test_an_unconfirmed_address_gets_no_notices(client, client_of, ada, password):
    register(client, password)
    eve = User.objects.get(username="Eve")
    delivered()

    client_of(eve).patch(ME, {"username": "Mallory", "email": NEW, "current_password": password})
    client_of(ada).patch(f"/user/users/{eve.pk}/", {"username": "Trudy"})

    assert [address for address, _ in delivered()] == [NEW]


def test_the_feed_has_only_confirmed_addresses(client, internal, password):
    register(client, password)
    eve = User.objects.get()

    def seen():
        feed = internal.get("/internal/users/changes/").json()["results"]
        looked_up = internal.get("/internal/users/", {"ids": eve.pk}).json()["results"]
        return [row["user"]["email"] for row in feed if row["id"] == eve.pk] + [row["email"] for row in looked_up]

    assert seen() == ["", ""]
    position = internal.get("/internal/users/changes/").json()["next_after"]
    delivered()
    confirm(client, token_to("eve@example.com"))

    assert seen() == ["eve@example.com"] * 2
    assert internal.get("/internal/users/changes/", {"after": position}).json()["results"]


# Resending the mail


def test_the_confirmation_mail_can_be_sent_again(client, client_of, password):
    register(client, password)
    delivered()
    Mail.objects.update(sent_at=timezone.now() - timedelta(minutes=2))

    answer = client_of(User.objects.get()).post(RESEND)

    assert (answer.status_code, answer.content) == (202, b"")
    assert delivered() == [("eve@example.com", "Confirm your address")]
    assert confirm(client, token_to("eve@example.com")).status_code == 204


def test_a_second_mail_within_a_minute_is_skipped(client_of, alice, password):
    signed_in = client_of(alice)
    ask(signed_in, password)
    delivered()

    assert signed_in.post(RESEND).status_code == 202
    assert delivered() == []


def test_a_confirmed_address_gets_no_confirmation_mail(client_of, alice):
    assert client_of(alice).post(RESEND).status_code == 409
    assert not Mail.objects.exists()


# Changes by an admin


def test_a_change_by_an_admin_is_mailed_to_the_old_address(client_of, ada, alice):
    client_of(ada).patch(f"/user/users/{alice.pk}/", {"username": "Alicia", "email": NEW})

    assert delivered() == [("alice@example.com", "Your account has changed")]


@pytest.mark.parametrize("field", ["username", "email"])
def test_admins_need_the_password_to_change_their_own_login(client_of, ada, field):
    admin, path = client_of(ada), f"/user/users/{ada.pk}/"
    value = {"username": "Countess", "email": "countess@example.com"}[field]
    whole = {"username": "Ada", "email": "ada@example.com", "role": "admin", field: value}

    answers = [
        admin.patch(path, {field: value}),
        admin.put(path, whole),
        admin.patch("/user/users/", {"id": ada.pk, field: value}),
        admin.put("/user/users/", {**whole, "id": ada.pk}),
    ]

    assert [(answer.status_code, get_errors(answer)) for answer in answers] == [(400, [(field, "use_own_account")])] * 4
    assert not Mail.objects.exists()


def test_an_admin_changes_their_own_role_without_the_password(client_of, ada, grace):
    answer = client_of(ada).put(
        f"/user/users/{ada.pk}/", {"username": "Ada", "email": "ada@example.com", "role": "user"}
    )

    assert (answer.status_code, answer.json()["role"]) == (200, "user")


# In parallel


@pytest.mark.django_db(transaction=True)
def test_one_of_two_parallel_uses_of_a_token_wins(client, client_of, alice, password, at_once):
    ask(client_of(alice), password)
    delivered()
    token = token_to(NEW)

    answers = at_once(*[lambda: confirm(client, token)] * 2, queued_at=alice)

    assert sorted(answer.status_code for answer in answers) == [204, 400]


@pytest.mark.django_db(transaction=True)
def test_a_racing_sign_out_leaves_no_pending_change(client, client_of, alice, password, at_once):
    signed_in = client_of(alice)
    ask(signed_in, password)
    delivered()
    token = token_to(NEW)

    at_once(lambda: confirm(client, token), lambda: signed_in.post("/token/logout-all/"), queued_at=alice)

    alice.refresh_from_db()
    assert alice.pending_email is None
    assert not EmailToken.objects.exists()
