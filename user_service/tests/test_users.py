from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from tests.conftest import account_json, read_pages, status_and_fields

pytestmark = pytest.mark.django_db

URL = "/user/users/"
changing = pytest.mark.parametrize("method", ["put", "patch", "delete"])


@pytest.fixture
def crowd(person, ada):
    """45 accounts in addition to Ada, in groups with the same date_joined."""
    now = timezone.now()
    for number in range(45):
        person(f"Person{number:02}", date_joined=now - timedelta(hours=number // 10))


def names(rows):
    return [row["username"] for row in rows]


def test_an_admin_lists_accounts(admin, ada, alice, ivan):
    answer = admin.get(URL)

    assert answer.status_code == 200
    assert answer.json() == {
        "next": None,
        "previous": None,
        "results": [account_json(user) for user in (ivan, alice, ada)],
    }


def test_a_list_costs_at_most_three_statements(admin, crowd, django_assert_max_num_queries):
    with django_assert_max_num_queries(3):
        answer = admin.get(URL, {"page_size": 40})

    assert len(answer.json()["results"]) == 40


@pytest.mark.parametrize("ordering", ["-date_joined", "date_joined", "username", "-username", "id", "-id"])
def test_pages_have_each_row_once_in_both_directions(admin, crowd, ordering):
    query = {"page_size": 10} if ordering == "-date_joined" else {"page_size": 10, "ordering": ordering}

    there, last = read_pages(admin, URL, query)
    back, _ = read_pages(admin, last.wsgi_request.get_full_path(), link="previous")

    by_id = "-id" if ordering.startswith("-") else "id"
    assert [row["username"] for page in there for row in page] == names(
        User.objects.order_by(ordering, by_id).values("username")
    )
    assert [len(page) for page in there] == [10, 10, 10, 10, 6]
    assert back[::-1] == there


def test_pages_neither_repeat_nor_skip_rows_after_changes(admin, crowd, person):
    first = admin.get(URL, {"page_size": 10, "ordering": "username"}).json()
    User.objects.filter(username=names(first["results"])[-1]).delete()
    person("Aaron")

    second = admin.get(first["next"]).json()

    assert names(second["results"])[0] == "Person09"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("page_size", size) for size in ("0", "101", "abc")),
        *(("ordering", field) for field in ("password", "email", "sessions__current_jti", "id,username")),
        *(("cursor", cursor) for cursor in ("", "nonsense")),
        *(("pagesize", "5"), ("password", "x"), ("role__in", "admin"), ("is_superuser", "true")),
    ],
)
def test_an_invalid_parameter_is_refused(admin, name, value):
    assert status_and_fields(admin.get(URL, {name: value})) == (400, [name])


def test_a_put_names_the_account_in_its_body(admin, alice):
    changes = {"username": "Alicia", "email": "alicia@example.com", "role": "admin"}

    answer = admin.put(URL, {"id": alice.pk, **changes})

    alice.refresh_from_db()
    assert (answer.status_code, answer.json()) == (200, account_json(alice, **changes))


def test_a_patch_names_the_account_in_its_body(admin, alice, bob):
    answer = admin.patch(URL, {"id": alice.pk, "role": "admin"})

    assert (answer.status_code, answer.json()["role"]) == (200, "admin")
    assert {user.username for user in User.objects.active_admins()} == {"Ada", "Alice"}


def test_a_delete_names_the_account_in_its_body(admin, alice, bob):
    answer = admin.delete(URL, {"id": alice.pk})

    assert (answer.status_code, answer.content) == (204, b"")
    assert {user.username for user in User.objects.all()} == {"Ada", "Bob"}


@changing
@pytest.mark.parametrize("body", [{}, {"id": 0}, {"id": "1"}, {"id": True}, {"id": None}, {"id": [1]}])
def test_a_body_without_an_id_changes_nobody(admin, ada, method, body):
    assert status_and_fields(getattr(admin, method)(URL, body)) == (400, ["id"])
    assert User.objects.get() == ada


@changing
def test_a_missing_account_is_404(admin, ada, method):
    assert getattr(admin, method)(URL, {"id": ada.pk + 1}).status_code == 404


def test_a_delete_refuses_other_fields_next_to_the_id(admin, alice):
    answer = admin.delete(URL, {"id": alice.pk, "ids": [1, 2, 3]})

    assert status_and_fields(answer) == (400, ["ids"])
    assert User.objects.filter(pk=alice.pk).exists()
