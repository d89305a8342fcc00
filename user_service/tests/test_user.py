import pytest

from accounts.models import User
from tests.conftest import account_json, status_and_fields

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)


def url(user):
    return f"/user/users/{user.pk}/"


def calling(client, method, user, body=None):
    return lambda: getattr(client, method)(url(user), body).status_code


def test_an_admin_reads_an_account(admin, alice):
    answer = admin.get(url(alice))

    assert (answer.status_code, answer.json()) == (200, account_json(alice))


def test_reading_costs_at_most_three_statements(admin, alice, django_assert_max_num_queries):
    with django_assert_max_num_queries(3):
        admin.get(url(alice))


@pytest.mark.parametrize(("method", "body"), [("patch", {"is_active": False}), ("delete", None)])
def test_a_change_costs_at_most_thirteen_statements(
    admin, client_of, alice, method, body, django_assert_max_num_queries
):
    client_of(alice)

    with django_assert_max_num_queries(13):
        answer = getattr(admin, method)(url(alice), body)

    assert answer.status_code in (200, 204)


def test_a_read_account_can_be_put_back(admin, alice):
    before = admin.get(url(alice)).json()

    answer = admin.put(url(alice), before)

    assert (answer.status_code, answer.json()) == (200, before)


def test_the_first_admin_keeps_its_reserved_name_in_a_put(client_of, person):
    first = person("admin", role=User.Role.ADMIN)
    client = client_of(first)

    assert client.put(url(first), client.get(url(first)).json()).status_code == 200


def test_a_put_changes_every_field(admin, alice):
    body = {"username": "Alicia", "email": "alicia@example.com", "role": "admin", "is_active": False}

    answer = admin.put(url(alice), body)

    alice.refresh_from_db()
    assert (answer.status_code, answer.json()) == (200, account_json(alice, **body))


def test_a_put_resets_missing_optional_fields(admin, ivan):
    answer = admin.put(url(ivan), {"username": "Ivan", "email": "ivan@example.com", "role": "user"})

    assert (answer.status_code, answer.json()["is_active"]) == (200, True)


def test_a_put_needs_every_required_field(admin, alice):
    assert status_and_fields(admin.put(url(alice), {"is_active": True})) == (400, ["username", "email", "role"])


@pytest.mark.parametrize("method", ["put", "patch"])
def test_fields_set_by_the_server_cannot_be_changed(admin, alice, method):
    before = admin.get(url(alice)).json()
    changes = {"id": 1, "date_joined": "2020-01-01T00:00:00Z"}

    answer = getattr(admin, method)(url(alice), before | changes)

    assert {(error["field"], error["code"]) for error in answer.json()["errors"]} == {
        (name, "read_only") for name in changes
    }
    assert admin.get(url(alice)).json() == before


def test_fields_of_the_model_that_are_not_listed_are_refused(admin, alice):
    hidden = dict.fromkeys(["password", "is_staff", "is_superuser", "last_login", "username_key", "sessions"], True)

    assert status_and_fields(admin.patch(url(alice), hidden)) == (400, list(hidden))


@pytest.mark.parametrize(
    "changes",
    [
        {"username": "bob smith", "email": "nowhere", "role": "owner", "is_active": "true"},
        {"username": "", "email": "", "role": None, "is_active": None},
    ],
)
def test_invalid_values_are_refused(admin, alice, changes):
    before = admin.get(url(alice)).json()

    answer = admin.patch(url(alice), changes)

    assert status_and_fields(answer) == (400, list(changes))
    assert admin.get(url(alice)).json() == before


@pytest.mark.parametrize(("name", "value"), [("username", "BOB"), ("email", "Bob@Example.com")])
def test_a_username_or_email_in_use_is_a_conflict(admin, alice, bob, name, value):
    answer = admin.patch(url(alice), {name: value})

    assert status_and_fields(answer) == (409, [name])
    assert User.objects.get(pk=alice.pk).username == "Alice"


def test_the_case_of_a_name_can_change(admin, alice):
    answer = admin.patch(url(alice), {"username": "ALICE"})

    assert (answer.status_code, answer.json()["username"]) == (200, "ALICE")


def test_a_renamed_user_signs_in_only_with_the_new_name(admin, client, alice, password):
    admin.patch(url(alice), {"username": "Alicia", "email": "alicia@example.com"})

    tried = ["Alicia", "alicia@example.com", "Alice", "alice@example.com"]
    statuses = [client.post("/token/", {"username": name, "password": password}).status_code for name in tried]
    assert statuses == [200, 200, 401, 401]


def test_a_deleted_account_is_gone(admin, alice):
    first, second = admin.delete(url(alice)), admin.delete(url(alice))

    assert (first.status_code, first.content, second.status_code) == (204, b"", 404)
    assert admin.get(url(alice)).status_code == 404


LOSING_AN_ADMIN = [
    ("patch", {"role": "user"}),
    ("patch", {"is_active": False}),
    ("put", {"username": "Ada", "email": "ada@example.com", "role": "user"}),
    ("delete", {}),
]


@pytest.mark.parametrize(("method", "body"), LOSING_AN_ADMIN)
def test_the_last_active_admin_cannot_be_removed(admin, ada, person, method, body):
    person("Gone", role=User.Role.ADMIN, is_active=False)

    by_path = getattr(admin, method)(url(ada), body)
    by_body = getattr(admin, method)("/user/users/", {"id": ada.pk, **body})

    assert (by_path.status_code, by_body.status_code) == (409, 409)
    assert User.objects.active_admins().get() == ada


@pytest.mark.parametrize(("method", "body"), LOSING_AN_ADMIN)
def test_an_admin_can_leave_while_another_is_active(admin, ada, grace, method, body):
    answer = getattr(admin, method)(url(ada), body)

    assert answer.status_code in (200, 204)
    assert User.objects.active_admins().get() == grace


@COMMITTING
@pytest.mark.parametrize(("method", "body"), [case for case in LOSING_AN_ADMIN if case[0] != "put"])
@pytest.mark.parametrize("queued", [True, False])
def test_one_of_two_admins_who_remove_each_other_stays(client_of, at_once, ada, grace, method, body, queued):
    by_ada, by_grace = client_of(ada), client_of(grace)

    statuses = at_once(
        calling(by_ada, method, grace, body), calling(by_grace, method, ada, body), queued_at=ada if queued else None
    )

    done, refused = sorted(statuses)
    assert done in (200, 204)
    assert refused in (401, 403, 404, 409)
    assert User.objects.active_admins().count() == 1


@COMMITTING
def test_parallel_changes_of_different_fields_are_both_kept(admin, at_once, alice):
    for round_ in range(5):
        at_once(
            calling(admin, "patch", alice, {"username": f"Alice{round_}"}),
            calling(admin, "patch", alice, {"email": f"alice{round_}@example.com"}),
            queued_at=alice,
        )

        alice.refresh_from_db()
        assert (alice.username, alice.email) == (f"Alice{round_}", f"alice{round_}@example.com")


@COMMITTING
def test_a_change_during_a_delete_is_applied_first_or_404(admin, at_once, person):
    for round_ in range(5):
        eve = person(f"Eve{round_}")

        changed, deleted = at_once(
            calling(admin, "patch", eve, {"role": "admin"}), calling(admin, "delete", eve), queued_at=eve
        )

        assert deleted == 204
        assert changed in (200, 404)
