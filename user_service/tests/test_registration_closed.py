"""REGISTRATION=invite: only admins create accounts. docs/permissions.md has the statuses of all callers."""

import pytest

from accounts.models import User
from chassis.testing.limiting import read_retry_after, set_limits
from tests.conftest import confirm_reset, send_mails, token_in

pytestmark = pytest.mark.django_db

URL = "/user/register/"
EVE = {"username": "Eve", "email": "eve@example.com", "password": "eight red balloons"}


@pytest.fixture(autouse=True)
def _closed(settings):
    settings.REGISTRATION = "invite"


@pytest.mark.parametrize("body", [EVE, {**EVE, "role": "admin"}, {}, {"nonsense": 1}])
@pytest.mark.parametrize("signed_in", [True, False])
def test_only_admins_register_accounts(client, client_of, alice, body, signed_in):
    answer = (client_of(alice) if signed_in else client).post(URL, body)

    assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")
    assert User.objects.get() == alice


def test_refusals_are_rate_limited(client, settings):
    set_limits(settings, anon="2/min")

    answers = [client.post(URL, EVE) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert read_retry_after(answers[2]) > 0


def test_an_admin_registers_and_invites_accounts(client, client_of, ada):
    admin = client_of(ada)

    answers = [admin.post(URL, EVE), admin.post("/user/users/", {"username": "Bob", "email": "bob@example.com"})]
    (message,) = send_mails()

    assert [answer.status_code for answer in answers] == [201, 201]
    assert confirm_reset(client, token_in(message)).status_code == 204
