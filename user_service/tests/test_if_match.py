"""Conditional changes of accounts: If-Match is evaluated, or refused where it is not supported."""

import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db

ME = "/user/me/"
STALE = '"0123456789ab"'
REPLACEMENT = {"username": "Alicia", "email": "alice@example.com", "role": "user"}


def url(user):
    return f"/user/users/{user.pk}/"


def if_match(tag):
    return {"If-Match": tag}


@pytest.fixture
def admin(client_of, ada):
    return client_of(ada)


@pytest.fixture
def tag(admin, alice):
    return admin.get(url(alice))["ETag"]


CHANGES = [("put", REPLACEMENT, 200), ("patch", {"username": "Alicia"}, 200), ("delete", None, 204)]


@pytest.mark.parametrize(("method", "body", "status"), CHANGES)
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_current_tag_allows_the_change(admin, alice, tag, method, body, status, form):
    answer = getattr(admin, method)(url(alice), body, headers=if_match(form.format(tag)))

    assert answer.status_code == status
    assert not User.objects.filter(username="Alice").exists()


@pytest.mark.parametrize(("method", "body", "status"), CHANGES)
@pytest.mark.parametrize("form", ["{}", "W/{}", '"nonsense"'])
def test_a_stale_tag_is_412(admin, alice, tag, method, body, status, form):
    admin.patch(url(alice), {"email": "elsewhere@example.com"})

    answer = getattr(admin, method)(url(alice), body, headers=if_match(form.format(tag)))

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert User.objects.get(pk=alice.pk).username == "Alice"


@pytest.mark.parametrize(("method", "body", "status"), CHANGES)
@pytest.mark.parametrize("tag", ["nonsense", "", '"a" "b"', 'W/"a', "1"])
def test_an_invalid_tag_is_refused(admin, alice, method, body, status, tag):
    answer = getattr(admin, method)(url(alice), body, headers=if_match(tag))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "If-Match")
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


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("put", "/user/users/", REPLACEMENT),
        ("patch", "/user/users/", {"username": "Alicia"}),
        ("delete", "/user/users/", {}),
        ("post", "/user/users/", {"username": "carl", "email": "carl@example.com"}),
        ("post", "/user/me/password/", {}),
        ("post", "/token/logout-all/", None),
    ],
)
def test_a_condition_on_other_routes_is_refused(admin, alice, method, path, body, header):
    named = body | {"id": alice.pk} if method in ("put", "patch", "delete") else body

    answer = getattr(admin, method)(path, named, headers={header: STALE})

    assert (answer.status_code, answer.json()["code"]) == (400, "precondition_unsupported")
    assert [error["field"] for error in answer.json()["errors"]] == [header]
    assert User.objects.get(pk=alice.pk).username == "Alice"


@pytest.mark.parametrize("path", ["/token/", "/user/register/", "/user/password-reset/"])
def test_an_anonymous_condition_is_refused_alike(client, path, db):
    answer = client.post(path, {}, headers=if_match(STALE))

    assert (answer.status_code, answer.json()["code"]) == (400, "precondition_unsupported")


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
