import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User

pytestmark = pytest.mark.django_db

URL = "/user/users/"


def names(answer):
    return [user["username"] for user in answer.json()["results"]]


@pytest.fixture
def crowd(person, ada):
    """45 accounts in addition to Ada, in groups with the same date_joined."""
    now = timezone.now()
    for number in range(45):
        person(f"Person{number:02}", date_joined=now - timedelta(hours=number // 10))


def walk(client, page, link):
    pages = [page]
    while url := pages[-1].json()[link]:
        pages.append(client.get(url))
        assert pages[-1].status_code == 200
        assert len(pages) < 100
    return pages


def test_an_admin_lists_accounts(client_of, ada, alice, ivan):
    answer = client_of(ada).get(URL)

    assert answer.status_code == 200
    assert answer.json().keys() == {"next", "previous", "results"}
    assert names(answer) == ["Ivan", "Alice", "Ada"]
    assert answer.json()["results"][0] == {
        "id": ivan.pk,
        "username": "Ivan",
        "email": "ivan@example.com",
        "role": "user",
        "is_active": False,
        "date_joined": ivan.date_joined.isoformat().replace("+00:00", "Z"),
        "invitation": None,
        "invited_at": None,
    }


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_only_admins_are_allowed(client, client_of, alice, method):
    body = {"id": alice.pk} if method != "get" else None

    anonymous = getattr(client, method)(URL, body)
    user = getattr(client_of(alice), method)(URL, body)

    assert (anonymous.status_code, user.status_code) == (401, 403)
    assert User.objects.get() == alice


def test_a_list_costs_at_most_three_statements(client_of, crowd, ada, django_assert_max_num_queries):
    client = client_of(ada)

    with django_assert_max_num_queries(3):
        answer = client.get(URL, {"page_size": 40})

    assert len(names(answer)) == 40


def test_pages_contain_each_row_once_in_both_directions(client_of, crowd, ada):
    client = client_of(ada)

    there = walk(client, client.get(URL, {"page_size": 7}), "next")
    back = walk(client, there[-1], "previous")

    seen = [name for page in there for name in names(page)]
    assert len(there) == 7
    assert seen == [user.username for user in User.objects.order_by("-date_joined", "-id")]
    assert [names(page) for page in reversed(back)] == [names(page) for page in there]


@pytest.mark.parametrize("ordering", ["username", "-username", "id", "-id", "date_joined"])
def test_pages_keep_the_requested_order(client_of, crowd, ada, ordering):
    client = client_of(ada)

    pages = walk(client, client.get(URL, {"page_size": 20, "ordering": ordering}), "next")

    seen = [name for page in pages for name in names(page)]
    by_id = "-id" if ordering.startswith("-") else "id"
    assert seen == [user.username for user in User.objects.order_by(ordering, by_id)]


def test_pages_neither_repeat_nor_skip_rows_after_changes(client_of, crowd, ada, person):
    client = client_of(ada)
    first = client.get(URL, {"page_size": 10, "ordering": "username"})
    User.objects.filter(username=names(first)[-1]).delete()
    person("Aaron")

    second = client.get(first.json()["next"])

    assert names(second)[0] == "Person09"


def test_a_page_has_twenty_rows_by_default(client_of, crowd, ada):
    client = client_of(ada)

    sizes = [len(names(client.get(URL, query))) for query in ({}, {"page_size": 1}, {"page_size": 100})]

    assert sizes == [20, 1, 46]


def test_links_start_with_the_public_url(client_of, crowd, ada, settings):
    settings.PUBLIC_URL = "https://tasks.example"
    settings.ALLOWED_HOSTS = ["*"]

    answer = client_of(ada).get(URL, {"ordering": "id"}, headers={"Host": "evil.example"})

    assert answer.json()["next"].startswith("https://tasks.example/user/users/?ordering=id&cursor=")


@pytest.mark.parametrize("size", ["0", "-1", "101", "1000000000", "9" * 5000, "abc", "1.0", "1e1", "", "\uff15", "\0"])
def test_an_invalid_page_size_is_refused(client_of, ada, size):
    answer = client_of(ada).get(URL, {"page_size": size})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "page_size")


@pytest.mark.parametrize("ordering", ["password", "email", "sessions__current_jti", "--id", "id,username", "?"])
def test_an_unknown_ordering_is_refused(client_of, ada, ordering):
    answer = client_of(ada).get(URL, {"ordering": ordering})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "ordering")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cursor: "",
        lambda cursor: "nonsense",
        lambda cursor: cursor[1:],
        lambda cursor: cursor[:-1] + ("A" if cursor[-1] != "A" else "B"),
        lambda cursor: "x" + cursor,
        lambda cursor: cursor.replace(":", "::"),
        lambda cursor: "\u00e9" + cursor,
        lambda cursor: cursor + "\0",
    ],
)
def test_a_forged_cursor_is_refused(client_of, crowd, ada, spoil):
    client = client_of(ada)
    cursor = client.get(URL).json()["next"].partition("cursor=")[2].replace("%3A", ":")
    assert client.get(URL, {"cursor": cursor}).status_code == 200

    answer = client.get(URL, {"cursor": spoil(cursor)})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor")


def test_a_cursor_of_another_order_is_refused(client_of, crowd, ada):
    client = client_of(ada)
    url = client.get(URL, {"ordering": "username"}).json()["next"]

    answer = client.get(url.replace("ordering=username", "ordering=id"))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor")


def test_an_unknown_query_parameter_gets_a_suggestion(client_of, ada):
    answer = client_of(ada).get(URL, {"pagesize": 5})

    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {
            "field": "pagesize",
            "code": "unknown_parameter",
            "detail": "Unknown query parameter; did you mean page_size?",
        }
    ]


@pytest.mark.parametrize("query", ["password=x", "role__in=admin", "is_superuser=true", "page_size=1&page_size=2"])
def test_a_parameter_without_effect_is_refused(client_of, ada, query):
    answer = client_of(ada).get(f"{URL}?{query}")

    assert answer.status_code == 400


def test_a_put_names_the_account_in_its_body(client_of, ada, alice):
    answer = client_of(ada).put(
        URL, {"id": alice.pk, "username": "Alicia", "email": "alicia@example.com", "role": "admin"}
    )

    alice.refresh_from_db()
    assert answer.status_code == 200
    assert (alice.username, alice.email, alice.role) == ("Alicia", "alicia@example.com", "admin")


def test_a_put_needs_every_required_field(client_of, ada, alice):
    answer = client_of(ada).put(URL, {"id": alice.pk, "username": "Alicia"})

    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == {"email", "role"}


def test_a_patch_names_the_account_in_its_body(client_of, ada, alice, bob):
    answer = client_of(ada).patch(URL, {"id": alice.pk, "role": "admin"})

    assert (answer.status_code, answer.json()["role"]) == (200, "admin")
    assert {user.username for user in User.objects.active_admins()} == {"Ada", "Alice"}


def test_a_delete_names_the_account_in_its_body(client_of, ada, alice, bob):
    answer = client_of(ada).delete(URL, {"id": alice.pk})

    assert (answer.status_code, answer.content) == (204, b"")
    assert {user.username for user in User.objects.all()} == {"Ada", "Bob"}


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize(
    "body",
    [{}, {"id": 0}, {"id": -1}, {"id": 2**63}, {"id": "1"}, {"id": True}, {"id": 1.0}, {"id": None}, {"id": [1]}],
)
def test_a_body_without_an_id_changes_nobody(client_of, ada, method, body):
    answer = getattr(client_of(ada), method)(URL, body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "id")
    assert User.objects.get() == ada


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("body", [None, [], [{"id": 1}], "1", 1])
def test_an_invalid_body_changes_nobody(client_of, ada, method, body):
    answer = client_of(ada).generic(method.upper(), URL, json.dumps(body), content_type="application/json")

    assert answer.status_code == 400
    assert User.objects.get() == ada


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_a_missing_account_is_404(client_of, ada, method):
    answer = getattr(client_of(ada), method)(URL, {"id": ada.pk + 1})

    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_an_unknown_field_next_to_the_id_is_refused(client_of, ada, alice, method):
    answer = getattr(client_of(ada), method)(URL, {"id": alice.pk, "ids": [1, 2, 3]})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "ids")
    assert User.objects.filter(pk=alice.pk).exists()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_a_query_parameter_on_a_change_is_refused(client_of, ada, alice, method):
    answer = getattr(client_of(ada), method)(f"{URL}?page_size=1", {"id": alice.pk})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "page_size")
    assert User.objects.filter(pk=alice.pk).exists()


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("patch", {"role": "user"}),
        ("patch", {"is_active": False}),
        ("put", {"username": "Ada", "email": "ada@example.com", "role": "user"}),
        ("delete", {}),
    ],
)
def test_the_last_active_admin_cannot_be_removed(client_of, ada, method, change):
    answer = getattr(client_of(ada), method)(URL, {"id": ada.pk, **change})

    assert answer.status_code == 409
    assert User.objects.active_admins().get() == ada
