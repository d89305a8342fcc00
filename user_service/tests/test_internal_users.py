"""The look-up of accounts by the task service. Which callers may: docs/permissions.md."""

import pytest

from accounts.models import Change
from chassis.auth.tokens import issue_service_token

pytestmark = pytest.mark.django_db

URL = "/internal/users/"


@pytest.fixture
def task_service(client):
    client.set_tokens(issue_service_token("task_service"))
    return client


def test_accounts_are_looked_up_by_id(task_service, ada, alice, ivan):
    for user in (ivan, alice, ada):
        Change.objects.record(user.pk)

    answer = task_service.get(URL, {"ids": f"{ada.pk},{alice.pk},{ivan.pk}"})

    assert answer.status_code == 200
    assert sorted(answer.json()["results"], key=lambda row: row["username"]) == [
        {
            "id": user.pk,
            "username": user.username,
            "email": user.email,
            "role": role,
            "is_active": is_active,
            "epoch": 0,
            "min_valid_epoch": 0,
            "least_epoch": 0,
            "position": Change.objects.get(user_id=user.pk).position,
        }
        for user, role, is_active in [(ada, "admin", True), (alice, "user", True), (ivan, "user", False)]
    ]


def test_missing_accounts_are_omitted(task_service, alice):
    answer = task_service.get(URL, {"ids": f"{alice.pk},{alice.pk + 1},{2**63 - 1},{alice.pk}"})

    assert [user["id"] for user in answer.json()["results"]] == [alice.pk]


def test_a_hundred_accounts_cost_one_statement(task_service, alice, django_assert_num_queries):
    with django_assert_num_queries(1):
        answer = task_service.get(URL, {"ids": ",".join(str(alice.pk + number) for number in range(100))})

    assert [user["id"] for user in answer.json()["results"]] == [alice.pk]


@pytest.mark.parametrize(
    "ids", ["", ",", "1,", "1,,2", "1, 2", "0", "-1", "01", "1e3", "1;2", "\u0661", "1\n", "1\0", "9" * 5000]
)
def test_invalid_ids_are_refused(task_service, ids):
    answer = task_service.get(URL, {"ids": ids})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "ids")


def test_ids_are_limited_in_number_and_size(task_service):
    hundred = ",".join(map(str, range(1, 101)))

    statuses = [task_service.get(URL, {"ids": ids}).status_code for ids in (hundred, f"{hundred},101", 2**63)]

    assert statuses == [200, 400, 400]


@pytest.mark.parametrize(("query", "field"), [("", "ids"), ("?ids=1&ids=2", "ids"), ("?id=1", "id")])
def test_an_invalid_query_is_refused(task_service, query, field):
    answer = task_service.get(URL + query)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
