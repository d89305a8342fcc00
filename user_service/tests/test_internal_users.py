import pytest

from accounts.models import Change
from chassis.auth.tokens import issue_service_token

pytestmark = pytest.mark.django_db

URL = "/internal/users/"


@pytest.fixture
def task_service(client):
    client.set_tokens(issue_service_token("task_service"))
    return client


def positions():
    return dict(Change.objects.values_list("user_id", "position"))


def test_accounts_are_looked_up_by_id(task_service, ada, alice, ivan):
    for user in (ivan, alice, ada):
        Change.objects.record(user.pk)

    answer = task_service.get(URL, {"ids": f"{ada.pk},{alice.pk},{ivan.pk}"})

    assert answer.status_code == 200
    results = sorted(answer.json()["results"], key=lambda user: user["id"])
    assert {user["id"]: user.pop("position") for user in results} == positions()
    assert results == [
        {
            "id": ada.pk,
            "username": "Ada",
            "email": "ada@example.com",
            "role": "admin",
            "is_active": True,
            "epoch": 0,
            "least_epoch": 0,
        },
        {
            "id": alice.pk,
            "username": "Alice",
            "email": "alice@example.com",
            "role": "user",
            "is_active": True,
            "epoch": 0,
            "least_epoch": 0,
        },
        {
            "id": ivan.pk,
            "username": "Ivan",
            "email": "ivan@example.com",
            "role": "user",
            "is_active": False,
            "epoch": 0,
            "least_epoch": 0,
        },
    ]


def test_missing_accounts_are_omitted(task_service, alice):
    answer = task_service.get(URL, {"ids": f"{alice.pk},{alice.pk + 1},{2**63 - 1},{alice.pk}"})

    assert [user["id"] for user in answer.json()["results"]] == [alice.pk]


def test_a_hundred_accounts_cost_one_statement(task_service, alice, django_assert_num_queries):
    with django_assert_num_queries(1):
        answer = task_service.get(URL, {"ids": ",".join(str(alice.pk + number) for number in range(100))})

    assert [user["id"] for user in answer.json()["results"]] == [alice.pk]


def test_a_missing_token_is_refused(client, alice):
    answer = client.get(URL, {"ids": str(alice.pk)})

    assert answer.status_code == 401


def test_the_token_of_a_user_or_admin_is_refused(client_of, ada):
    client = client_of(ada)

    by_access = client.get(URL, {"ids": str(ada.pk)})
    client.set_tokens(client.refresh_token)
    by_refresh = client.get(URL, {"ids": str(ada.pk)})

    assert (by_access.status_code, by_refresh.status_code) == (401, 401)


@pytest.mark.parametrize(
    ("method", "path"), [("get", "/user/users/"), ("get", "/user/users/1/"), ("delete", "/user/users/1/")]
)
def test_a_service_token_opens_nothing_else(task_service, method, path):
    answer = getattr(task_service, method)(path)

    assert answer.status_code == 401


def test_a_service_token_registers_no_admin(task_service):
    body = {"username": "Eve", "email": "eve@example.com", "password": "seven green bicycles", "role": "admin"}

    answer = task_service.post("/user/register/", body)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "ids",
    [
        "",
        ",",
        "1,",
        "1,,2",
        "1, 2",
        "0",
        "-1",
        "01",
        "1e3",
        "abc",
        "1;2",
        "\u0661",
        "1\n",
        "1\0",
        str(2**63),
        "9" * 5000,
        ",".join(str(number) for number in range(1, 102)),
    ],
)
def test_invalid_ids_are_refused(task_service, ids):
    answer = task_service.get(URL, {"ids": ids})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "ids")


@pytest.mark.parametrize(("query", "field"), [("", "ids"), ("?ids=1&ids=2", "ids"), ("?id=1", "id")])
def test_an_invalid_query_is_refused(task_service, query, field):
    answer = task_service.get(URL + query)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_lookup_is_read_only(task_service, method):
    answer = getattr(task_service, method)(URL)

    assert answer.status_code == 405
