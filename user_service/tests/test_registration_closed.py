"""REGISTRATION=invite: only admins create accounts."""

import pytest

from accounts.models import User
from chassis.testing.limiting import read_retry_after, set_limits
from tests.test_startup import starting

pytestmark = pytest.mark.django_db

URL = "/user/register/"
EVE = {"username": "Eve", "email": "eve@example.com", "password": "eight red balloons"}


@pytest.fixture(autouse=True)
def _closed(settings):
    settings.REGISTRATION = "invite"


@pytest.mark.parametrize("body", [EVE, {**EVE, "role": "admin"}, {}, {"nonsense": 1}])
def test_an_anonymous_caller_cannot_register(client, body):
    answer = client.post(URL, body)

    assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")
    assert not User.objects.exists()


def test_refusals_are_rate_limited(client, settings):
    set_limits(settings, anon="2/min")

    answers = [client.post(URL, EVE) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert read_retry_after(answers[2]) > 0


def test_a_user_cannot_register_accounts(client_of, alice):
    assert client_of(alice).post(URL, EVE).json()["code"] == "registration_closed"


def test_an_admin_creates_accounts_on_both_routes(client_of, ada):
    admin = client_of(ada)

    answers = [admin.post(URL, EVE), admin.post("/user/users/", {"username": "Bob", "email": "bob@example.com"})]

    assert [answer.status_code for answer in answers] == [201, 201]


def test_an_invitation_can_be_accepted(client, client_of, ada):
    admin = client_of(ada)
    account = admin.post("/user/users/", {"username": "Bob", "email": "bob@example.com"}).json()

    assert account["invitation"] == "pending"
    assert client.post("/user/password-reset/", {"email": "bob@example.com"}).status_code == 202


@pytest.mark.parametrize("value", ["closed", "Open", "true"])
def test_an_unknown_value_stops_the_start_with_one_sentence(value):
    done = starting(REGISTRATION=value)

    assert (done.returncode, done.stderr) == (
        78,
        f"user_service: REGISTRATION must be one of open, invite, not {value!r}.\n",
    )
