import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db


def url(user):
    return f"/user/users/{user.pk}/"


def calling(client, method, user, body=None):
    return lambda: getattr(client, method)(url(user), body).status_code


def test_it_works(client_of, ada, alice):
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


def test_anyone_may_look_at_their_own(client_of, alice):
    answer = client_of(alice).get(url(alice))

    assert (answer.status_code, answer.json()["username"]) == (200, "Alice")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_who_has_not_signed_in_is_refused(client, alice, method):
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
def test_nobody_but_an_admin_changes_even_their_own(client_of, alice, method, body):
    answer = getattr(client_of(alice), method)(url(alice), body)

    alice.refresh_from_db()
    assert answer.status_code == 403
    assert (alice.email, alice.role) == ("alice@example.com", "user")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_another_person_is_like_one_who_does_not_exist(client_of, alice, bob, method):
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


def test_the_largest_id_is_one(client_of, ada):
    answer = client_of(ada).get(f"/user/users/{2**63 - 1}/")

    assert answer.status_code == 404


def test_looking_costs_at_most_three_statements(client_of, ada, alice, django_assert_max_num_queries):
    client = client_of(ada)

    with django_assert_max_num_queries(3):
        client.get(url(alice))


@pytest.mark.parametrize(("method", "body"), [("patch", {"is_active": False}), ("delete", None)])
def test_a_change_costs_at_most_thirteen_statements(client_of, ada, alice, method, body, django_assert_max_num_queries):
    client, _ = client_of(ada), client_of(alice)

    with django_assert_max_num_queries(13):
        answer = getattr(client, method)(url(alice), body)

    assert answer.status_code in (200, 204)


def test_what_was_read_may_be_put_back(client_of, ada, alice):
    client = client_of(ada)
    before = client.get(url(alice)).json()

    answer = client.put(url(alice), before)

    assert (answer.status_code, answer.json()) == (200, before)
    assert client.get(url(alice)).json() == before


def test_the_first_admin_may_be_put_back_under_its_reserved_name(client_of, person):
    admin = person("admin", role=User.Role.ADMIN)
    client = client_of(admin)

    answer = client.put(url(admin), client.get(url(admin)).json())

    assert answer.status_code == 200


def test_a_put_changes_everything_it_names(client_of, ada, alice):
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


def test_a_put_without_an_optional_field_gives_it_its_default(client_of, ada, ivan):
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
def test_what_the_server_sets_cannot_be_changed(client_of, ada, alice, method, name, value):
    client = client_of(ada)
    before = client.get(url(alice)).json()

    answer = getattr(client, method)(url(alice), {**before, name: value})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "read_only")]
    assert client.get(url(alice)).json() == before


@pytest.mark.parametrize(
    "name", ["password", "is_staff", "is_superuser", "groups", "last_login", "username_key", "sessions", "__class__"]
)
def test_a_field_that_is_not_offered_is_refused(client_of, ada, alice, name):
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
def test_a_value_that_cannot_be_is_refused(client_of, ada, alice, name, value):
    client = client_of(ada)
    before = client.get(url(alice)).json()

    answer = client.patch(url(alice), {name: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, name)
    assert client.get(url(alice)).json() == before


@pytest.mark.parametrize(("name", "value"), [("username", "BOB"), ("email", "Bob@Example.com")])
def test_the_name_and_address_of_another_are_taken(client_of, ada, alice, bob, name, value):
    answer = client_of(ada).patch(url(alice), {name: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, name)
    assert User.objects.get(pk=alice.pk).username == "Alice"


def test_a_name_may_change_its_case(client_of, client, ada, alice, password):
    answer = client_of(ada).patch(url(alice), {"username": "ALICE"})

    assert (answer.status_code, answer.json()["username"]) == (200, "ALICE")
    assert client.post("/token/", {"username": "alice", "password": password}).status_code == 200


def test_who_is_renamed_signs_in_under_the_new_name_alone(client_of, client, ada, alice, password):
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
def test_the_last_active_admin_stays(client_of, ada, person, method, body):
    person("Gone", role=User.Role.ADMIN, is_active=False)
    client = client_of(ada)

    answer = getattr(client, method)(url(ada), body)

    assert answer.status_code == 409
    assert User.objects.active_admins().get() == ada
    assert client.get("/user/users/").status_code == 200


@pytest.mark.parametrize(("method", "body"), LOSING_AN_ADMIN)
def test_an_admin_may_leave_while_another_is_active(client_of, ada, grace, method, body):
    client = client_of(ada)

    answer = getattr(client, method)(url(ada), body)

    assert answer.status_code in (200, 204)
    assert User.objects.active_admins().get() == grace
    assert client.get("/user/users/").status_code in (401, 403)


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_remove_each_other_at_once_leave_one(client_of, at_once, person):
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
def test_changes_of_different_fields_at_once_are_both_kept(client_of, at_once, ada, alice):
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
def test_of_eight_deletes_at_once_one_deletes(client_of, at_once, ada, alice):
    client = client_of(ada)

    statuses = at_once(*[calling(client, "delete", alice)] * 8, queued_at=alice)

    assert sorted(statuses) == [204] + [404] * 7


@pytest.mark.django_db(transaction=True)
def test_a_change_during_the_delete_comes_before_it_or_finds_nobody(client_of, at_once, ada, person):
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
