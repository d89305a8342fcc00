import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db


def url(user):
    return f"/user/users/{user.pk}/"


def calling(client, method, user, body=None):
    return lambda: getattr(client, method)(url(user), body).status_code


def test_an_admin_reads_an_account(client_of, ada, alice):
    answer = client_of(ada).get(url(alice))

    assert answer.status_code == 200
    assert answer.json() == {
        "id": alice.pk,
        "username": "Alice",
        "email": "alice@example.com",
        "role": "user",
        "is_active": True,
        "date_joined": alice.date_joined.isoformat().replace("+00:00", "Z"),
        "invitation": None,
        "invited_at": None,
    }


def test_users_read_their_own_account(client_of, alice):
    answer = client_of(alice).get(url(alice))

    assert (answer.status_code, answer.json()["username"]) == (200, "Alice")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_an_anonymous_caller_is_refused(client, alice, method):
    answer = getattr(client, method)(url(alice))

    assert answer.status_code == 401
    assert User.objects.get() == alice


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("put", {"username": "Alice", "email": "alice@example.com", "role": "admin"}),
        ("patch", {"role": "admin"}),
        ("patch", {"email": "alicia@example.com"}),
        ("patch", {"password": "argon2$nothing"}),
        ("delete", None),
    ],
)
def test_only_admins_change_accounts_here(client_of, alice, method, body):
    answer = getattr(client_of(alice), method)(url(alice), body)

    alice.refresh_from_db()
    assert answer.status_code == 403
    assert (alice.email, alice.role) == ("alice@example.com", "user")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_another_account_looks_like_a_missing_one(client_of, alice, bob, method):
    client = client_of(alice)

    def asking(path):
        answer = getattr(client, method)(path, headers={"X-Request-ID": "the-same"})
        headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
        return answer.status_code, headers, answer.content.replace(path.encode(), b"")

    of_bob, of_nobody = asking(url(bob)), asking("/user/users/999999999/")

    assert of_bob == of_nobody
    assert of_bob[0] == 404
    assert User.objects.filter(pk=bob.pk).exists()


ARABIC_DIGITS = str.maketrans("0123456789", "".join(map(chr, range(0x660, 0x66A))))


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
@pytest.mark.parametrize(
    "spelling",
    [
        *("0", "-1", "0x1", "1e5", "null", str(2**63), "9" * 5000),
        *("0{id}", "+{id}", "-{id}", "{id}.0", "{id}e0", "{id};x", "%20{id}", "{id}%0a", "{id}%00", "{arabic}"),
    ],
)
def test_an_id_has_one_spelling(client_of, ada, method, spelling):
    path = spelling.format(id=ada.pk, arabic=str(ada.pk).translate(ARABIC_DIGITS))

    answer = getattr(client_of(ada), method)(f"/user/users/{path}/")

    assert answer.status_code == 404


def test_the_largest_id_is_valid(client_of, ada):
    answer = client_of(ada).get(f"/user/users/{2**63 - 1}/")

    assert answer.status_code == 404


def test_reading_costs_at_most_three_statements(client_of, ada, alice, django_assert_max_num_queries):
    client = client_of(ada)

    with django_assert_max_num_queries(3):
        client.get(url(alice))


@pytest.mark.parametrize(("method", "body"), [("patch", {"is_active": False}), ("delete", None)])
def test_a_change_costs_at_most_thirteen_statements(client_of, ada, alice, method, body, django_assert_max_num_queries):
    client, _ = client_of(ada), client_of(alice)

    with django_assert_max_num_queries(13):
        answer = getattr(client, method)(url(alice), body)

    assert answer.status_code in (200, 204)


def test_a_read_account_can_be_put_back(client_of, ada, alice):
    client = client_of(ada)
    before = client.get(url(alice)).json()

    answer = client.put(url(alice), before)

    assert (answer.status_code, answer.json()) == (200, before)
    assert client.get(url(alice)).json() == before


def test_the_first_admin_keeps_its_reserved_name_in_a_put(client_of, person):
    admin = person("admin", role=User.Role.ADMIN)
    client = client_of(admin)

    answer = client.put(url(admin), client.get(url(admin)).json())

    assert answer.status_code == 200


def test_a_put_changes_every_field(client_of, ada, alice):
    answer = client_of(ada).put(
        url(alice), {"username": "Alicia", "email": "alicia@example.com", "role": "admin", "is_active": False}
    )

    alice.refresh_from_db()
    assert answer.status_code == 200
    assert (alice.username, alice.email, alice.role, alice.is_active) == (
        "Alicia",
        "alicia@example.com",
        "admin",
        False,
    )


def test_a_put_resets_missing_optional_fields(client_of, ada, ivan):
    answer = client_of(ada).put(url(ivan), {"username": "Ivan", "email": "ivan@example.com", "role": "user"})

    assert (answer.status_code, answer.json()["is_active"]) == (200, True)


@pytest.mark.parametrize("name", ["username", "email", "role"])
def test_a_put_needs_every_required_field(client_of, ada, alice, name):
    client = client_of(ada)
    body = client.get(url(alice)).json()
    del body[name]

    answer = client.put(url(alice), body)

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "required")]


@pytest.mark.parametrize("method", ["put", "patch"])
@pytest.mark.parametrize(
    ("name", "value"), [("id", 1), ("id", "x"), ("id", None), ("date_joined", "2020-01-01T00:00:00Z")]
)
def test_fields_set_by_the_server_cannot_be_changed(client_of, ada, alice, method, name, value):
    client = client_of(ada)
    before = client.get(url(alice)).json()

    answer = getattr(client, method)(url(alice), {**before, name: value})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "read_only")]
    assert client.get(url(alice)).json() == before


@pytest.mark.parametrize(
    "name", ["password", "is_staff", "is_superuser", "groups", "last_login", "username_key", "sessions", "__class__"]
)
def test_an_unknown_field_is_refused(client_of, ada, alice, name):
    answer = client_of(ada).patch(url(alice), {name: True})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "unknown_field")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("username", "bob smith"),
        ("username", ""),
        ("email", "nowhere"),
        ("role", "owner"),
        ("role", None),
        ("is_active", "true"),
        ("is_active", 1),
        ("is_active", None),
    ],
)
def test_an_invalid_value_is_refused(client_of, ada, alice, name, value):
    client = client_of(ada)
    before = client.get(url(alice)).json()

    answer = client.patch(url(alice), {name: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, name)
    assert client.get(url(alice)).json() == before


@pytest.mark.parametrize(("name", "value"), [("username", "BOB"), ("email", "Bob@Example.com")])
def test_a_username_or_email_in_use_is_a_conflict(client_of, ada, alice, bob, name, value):
    answer = client_of(ada).patch(url(alice), {name: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, name)
    assert User.objects.get(pk=alice.pk).username == "Alice"


def test_the_case_of_a_name_can_change(client_of, client, ada, alice, password):
    answer = client_of(ada).patch(url(alice), {"username": "ALICE"})

    assert (answer.status_code, answer.json()["username"]) == (200, "ALICE")
    assert client.post("/token/", {"username": "alice", "password": password}).status_code == 200


def test_a_renamed_user_signs_in_only_with_the_new_name(client_of, client, ada, alice, password):
    client_of(ada).patch(url(alice), {"username": "Alicia", "email": "alicia@example.com"})

    tried = ["Alicia", "alicia@example.com", "Alice", "alice@example.com"]
    statuses = [client.post("/token/", {"username": name, "password": password}).status_code for name in tried]
    assert statuses == [200, 200, 401, 401]


def test_a_query_parameter_is_refused(client_of, ada, alice):
    answer = client_of(ada).delete(f"{url(alice)}?force=true")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "force")
    assert User.objects.filter(pk=alice.pk).exists()


def test_a_deleted_account_is_gone(client_of, ada, alice):
    client = client_of(ada)

    first, second = client.delete(url(alice)), client.delete(url(alice))

    assert (first.status_code, first.content, second.status_code) == (204, b"", 404)
    assert client.get(url(alice)).status_code == 404


LOSING_AN_ADMIN = [
    ("patch", {"role": "user"}),
    ("patch", {"is_active": False}),
    ("put", {"username": "Ada", "email": "ada@example.com", "role": "user"}),
    ("delete", None),
]


@pytest.mark.parametrize(("method", "body"), LOSING_AN_ADMIN)
def test_the_last_active_admin_cannot_be_removed(client_of, ada, person, method, body):
    person("Gone", role=User.Role.ADMIN, is_active=False)
    client = client_of(ada)

    answer = getattr(client, method)(url(ada), body)

    assert answer.status_code == 409
    assert User.objects.active_admins().get() == ada
    assert client.get("/user/users/").status_code == 200


@pytest.mark.parametrize(("method", "body"), LOSING_AN_ADMIN)
def test_an_admin_can_leave_while_another_is_active(client_of, ada, grace, method, body):
    client = client_of(ada)

    answer = getattr(client, method)(url(ada), body)

    assert answer.status_code in (200, 204)
    assert User.objects.active_admins().get() == grace
    assert client.get("/user/users/").status_code in (401, 403)


@pytest.mark.django_db(transaction=True)
def test_one_of_two_admins_who_remove_each_other_stays(client_of, at_once, person):
    ways = [("patch", {"role": "user"}), ("patch", {"is_active": False}), ("delete", None)]
    for round_ in range(30):
        method, body = ways[round_ % 3]
        ada, grace = (person(name, role=User.Role.ADMIN) for name in ("Ada", "Grace"))
        by_ada, by_grace = client_of(ada), client_of(grace)

        statuses = at_once(
            calling(by_ada, method, grace, body),
            calling(by_grace, method, ada, body),
            queued_at=ada if round_ % 2 else None,
        )

        done, refused = sorted(statuses)
        assert done in (200, 204)
        assert refused in (401, 403, 404, 409)
        assert User.objects.active_admins().count() == 1
        User.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_parallel_changes_of_different_fields_are_both_kept(client_of, at_once, ada, alice):
    client = client_of(ada)

    for round_ in range(10):
        at_once(
            calling(client, "patch", alice, {"username": f"Alice{round_}"}),
            calling(client, "patch", alice, {"email": f"alice{round_}@example.com"}),
            queued_at=alice,
        )

        alice.refresh_from_db()
        assert (alice.username, alice.email) == (f"Alice{round_}", f"alice{round_}@example.com")


@pytest.mark.django_db(transaction=True)
def test_one_of_eight_parallel_deletes_wins(client_of, at_once, ada, alice):
    client = client_of(ada)

    statuses = at_once(*[calling(client, "delete", alice)] * 8, queued_at=alice)

    assert sorted(statuses) == [204] + [404] * 7


@pytest.mark.django_db(transaction=True)
def test_a_change_during_a_delete_is_applied_first_or_404(client_of, at_once, ada, person):
    client = client_of(ada)

    for round_ in range(10):
        eve = person(f"Eve{round_}")
        changed, deleted = at_once(
            calling(client, "patch", eve, {"role": "admin"}),
            calling(client, "delete", eve),
            queued_at=eve,
        )

        assert deleted == 204
        assert changed in (200, 404)
