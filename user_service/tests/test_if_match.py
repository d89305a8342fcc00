"""Conditional changes of accounts: If-Match is evaluated, or refused where it is not supported."""

import pytest

from accounts.models import User
from chassis.testing import permission_table
from chassis.testing.documented_responses import get_document
from config.urls import DOCUMENTATION
from tests.conftest import status_and_fields

pytestmark = pytest.mark.django_db

ME = "/user/me/"
STALE = '"0123456789ab"'
REPLACEMENT = {"username": "Alicia", "email": "alice@example.com", "role": "user"}
CONDITIONAL = {"PATCH /user/me/", *(f"{method} /user/users/{{id}}/" for method in ("PUT", "PATCH", "DELETE"))}
WRITES = {call for call in get_document(DOCUMENTATION).operations if not call.startswith("GET ")}


def url(user):
    return f"/user/users/{user.pk}/"


def if_match(tag):
    return {"If-Match": tag}


@pytest.fixture
def tag(admin, alice):
    return admin.get(url(alice))["ETag"]


each_change = pytest.mark.parametrize(
    ("method", "body", "status"),
    [("put", REPLACEMENT, 200), ("patch", {"username": "Alicia"}, 200), ("delete", None, 204)],
)


@each_change
@pytest.mark.parametrize("form", ["{}", "W/{}", "*"])
def test_a_current_tag_allows_the_change(admin, alice, tag, method, body, status, form):
    answer = getattr(admin, method)(url(alice), body, headers=if_match(form.format(tag)))

    assert answer.status_code == status
    assert not User.objects.filter(username="Alice").exists()


@each_change
@pytest.mark.parametrize("form", ["{}", '"nonsense"'])
def test_a_stale_tag_is_412(admin, alice, tag, method, body, status, form):
    admin.patch(url(alice), {"email": "elsewhere@example.com"})

    answer = getattr(admin, method)(url(alice), body, headers=if_match(form.format(tag)))

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert User.objects.get(pk=alice.pk).username == "Alice"


@each_change
def test_an_invalid_tag_is_refused(admin, alice, method, body, status):
    answer = getattr(admin, method)(url(alice), body, headers=if_match("nonsense"))

    assert status_and_fields(answer) == (400, ["If-Match"])
    assert User.objects.get(pk=alice.pk).username == "Alice"


def test_a_change_returns_the_next_tag(admin, alice, tag):
    first = admin.patch(url(alice), {"username": "Alicia"}, headers=if_match(tag))
    second = admin.put(url(alice), REPLACEMENT | {"username": "Alix"}, headers=if_match(first["ETag"]))

    assert (first.status_code, second.status_code) == (200, 200)
    assert second["ETag"] == admin.get(url(alice))["ETag"] != first["ETag"]


def test_your_own_account_is_compared_too(client_of, alice, password):
    client = client_of(alice)
    tag, renamed, again = client.get(ME)["ETag"], {"username": "Alicia"}, {"username": "Alix"}
    proof = {"current_password": password}

    assert client.patch(ME, renamed | proof, headers=if_match(STALE)).status_code == 412
    assert client.patch(ME, renamed | proof, headers=if_match(tag)).status_code == 200
    assert client.patch(ME, again | proof, headers=if_match(tag)).status_code == 412
    assert client.get(ME).json()["username"] == "Alicia"


def test_a_missing_account_is_404_not_412(admin):
    assert admin.delete("/user/users/999/", headers=if_match(STALE)).status_code == 404


@pytest.mark.parametrize("call", sorted(WRITES - CONDITIONAL))
def test_a_condition_on_other_routes_is_refused(admin, alice, call):
    admin.credentials(**admin._credentials, HTTP_IF_MATCH=STALE)

    answer = permission_table.send(admin, call, id_=alice.pk, body={"id": alice.pk})

    assert answer.json()["code"] == "precondition_unsupported"
    assert status_and_fields(answer) == (400, ["If-Match"])


@pytest.mark.django_db(transaction=True)
def test_one_of_two_admins_with_the_same_tag_wins(client_of, ada, grace, alice, at_once):
    admins = [client_of(ada), client_of(grace)]
    tag = admins[0].get(url(alice))["ETag"]

    def changing(client, name):
        return lambda: client.patch(url(alice), {"username": name}, headers=if_match(tag))

    answers = at_once(changing(admins[0], "Alicia"), changing(admins[1], "Alix"), queued_at=alice)

    changed, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert (changed.status_code, refused.status_code) == (200, 412)
    assert User.objects.get(pk=alice.pk).username == changed.json()["username"]
