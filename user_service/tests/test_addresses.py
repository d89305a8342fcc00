"""Valid addresses of accounts, at every endpoint and command that takes one."""

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Mail, User
from chassis.testing.mail_addresses import ACCEPTED, INTERNATIONAL, REFUSED

pytestmark = pytest.mark.django_db

NO_ADDRESS = ["", "   ", None, 7, True, ["alice@example.com"], {"$ne": ""}]


@pytest.mark.parametrize("address", ACCEPTED)
def test_a_plain_address_is_accepted(client_of, ada, address):
    answer = client_of(ada).post("/user/users/", {"username": "Eve", "email": address})

    assert (answer.status_code, answer.json()["email"]) == (201, address)


@pytest.mark.parametrize("address", [*REFUSED, "alice@\u24d4xample.com", *NO_ADDRESS], ids=ascii)
def test_every_endpoint_refuses_an_ambiguous_address(client, client_of, ada, alice, password, address):
    admin, path = client_of(ada), f"/user/users/{alice.pk}/"
    body = {"username": "Eve", "email": address}

    answers = [
        client.post("/user/register/", {**body, "password": password}),
        client.post("/user/password-reset/", {"email": address}),
        client_of(alice).patch("/user/me/", {"email": address, "current_password": password}),
        admin.post("/user/users/", body),
        admin.patch(path, {"email": address}),
        admin.put(path, {**body, "role": "user"}),
        admin.patch("/user/users/", {"id": alice.pk, "email": address}),
        admin.put("/user/users/", {**body, "role": "user", "id": alice.pk}),
    ]

    problems = [(answer.status_code, {error["field"] for error in answer.json()["errors"]}) for answer in answers]
    assert problems == [(400, {"email"})] * 8
    assert User.objects.count() == 2
    assert not Mail.objects.exists()


@pytest.mark.parametrize("address", REFUSED, ids=ascii)
def test_the_first_admin_cannot_have_an_ambiguous_address(monkeypatch, address, password):
    monkeypatch.setenv("ADMIN_EMAIL", address)
    monkeypatch.setenv("ADMIN_PASSWORD", password)

    with pytest.raises(CommandError, match=r"^ADMIN_EMAIL cannot be used: [^\n]+\.$"):
        call_command("ensure_admin")

    assert not User.objects.exists()


@pytest.mark.parametrize(("address", "normal"), INTERNATIONAL.items(), ids=ascii)
class TestInternationalDomains:
    def test_signing_up_stores_the_normal_form(self, client, password, address, normal):
        answer = client.post("/user/register/", {"username": "Eve", "email": address, "password": password})

        assert (answer.status_code, answer.json()["email"]) == (201, normal)

    def test_every_spelling_finds_the_account(self, client, client_of, ada, person, password, address, normal):
        person("Eve", email=normal)
        body = {"username": "Mallory", "email": address, "password": password}

        taken = client.post("/user/register/", body)
        signed_in = client.post("/token/", {"username": address, "password": password})
        client.post("/user/password-reset/", {"email": address})
        found = [client_of(ada).get("/user/users/", {"search": text}) for text in (address, address.partition("@")[2])]

        assert (taken.status_code, signed_in.status_code) == (409, 200)
        assert Mail.objects.get().email_key == normal.lower()
        assert [[row["email"] for row in answer.json()["results"]] for answer in found] == [[normal]] * 2

    def test_failed_sign_ins_count_for_all_spellings(self, client, person, address, normal):
        person("Eve", email=normal)

        answers = [client.post("/token/", {"username": name, "password": "x"}) for name in [normal, address] * 6]

        assert [answer.status_code for answer in answers[-2:]] == [429] * 2
