"""Checks the tables of the task service in docs/permissions.md: every route, for every kind of caller."""

import pytest
from rest_framework.test import APIClient

from chassis.auth import tokens
from chassis.testing import permission_table
from chassis.testing.permission_table import ALL_METHODS, REFUSALS, as_head, response_content, rows_of_all_tables
from notifications.models import Notification
from tasks.models import Task
from tests.conftest import Person, add_to_directory

pytestmark = pytest.mark.django_db

TABLE = permission_table.table("## Task service")
WITH_SETTING = permission_table.table("### With ASSIGNEES_CAN_UPDATE_STATUS=true")
METHODS = permission_table.methods_by_route(TABLE)
CALLERS = {
    "anonymous": "stranger",
    "service token": "service",
    "deactivated": "ivan",
    "demoted admin": "dora",
    "user": "carol",
    "former assignee": "bob",
    "assignee": "alice",
    "admin": "ada",
}
TASK, MISSING = 900_001, 900_002  # far from the ids of the sequence
DETAIL = "/task/tasks/{id}/"
BODIES = {
    "POST /task/tasks/": {"title": "Feed the cat", "assigned_to": 102},
    "POST /task/tasks/bulk/": {"ids": [TASK], "set": {"status": "completed"}},
    f"PUT {DETAIL}": {"title": "Feed the cat", "assigned_to": 102},
    f"PATCH {DETAIL}": {"status": "completed"},
}
PATCHES = {
    "status alone": {"status": "completed"},
    "status and more": {"status": "completed", "title": "Feed the cat"},
    "anything else": {"title": "Feed the cat"},
}


@pytest.fixture
def stranger():
    return APIClient()


@pytest.fixture
def service():
    client = APIClient()
    token = tokens.issue_service_token("user_service", on_behalf_of=101)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def ivan(directory):
    return add_to_directory(Person(106, "ivan"), is_active=False)


@pytest.fixture
def dora(directory):
    """A demoted admin with a token from before."""
    return add_to_directory(Person(107, "dora", role="admin"), role="user", epoch=1)


@pytest.fixture
def carol(directory):
    return add_to_directory(Person(108, "carol"))


@pytest.fixture(autouse=True)
def task(create_task, ada, alice, bob):
    """Reassigned from bob to alice. Her notification of that has the same id."""
    create_task(id=TASK, assigned_to=bob.id)
    Task.objects.filter(pk=TASK).change(by_id=ada.id, assigned_to_id=alice.id)
    Notification.objects.filter(recipient_id=alice.id).update(id=TASK)


@pytest.fixture
def caller(request):
    return lambda kind: request.getfixturevalue(CALLERS[kind])


def send(client, call, *, id_=TASK, body=None):
    return permission_table.send(client, call, id_=id_, body=body or BODIES.get(call))


def assert_answers(client, call, status, body=None):
    before = rows_of_all_tables()

    answer = send(client, call, body=body)

    assert answer.status_code == status
    if status in REFUSALS:
        assert rows_of_all_tables() == before
    if status == 404:
        assert response_content(answer) == response_content(send(client, call, id_=MISSING, body=body))
    if call.startswith("GET "):
        assert as_head(answer).status_code == status


def test_the_table_has_every_route_and_no_other():
    assert set(TABLE) == permission_table.routed_calls()


def test_the_tables_have_every_kind_of_caller_and_no_other():
    assert {tuple(row) for row in (*TABLE.values(), *WITH_SETTING.values())} == {tuple(CALLERS)}


@pytest.mark.parametrize(("call", "kind", "status"), permission_table.cells(TABLE))
def test_every_caller_gets_the_status_in_the_table(caller, call, kind, status):
    assert_answers(caller(kind), call, status)


@pytest.mark.parametrize(("patch", "kind", "status"), permission_table.cells(WITH_SETTING))
def test_the_setting_lets_assignees_change_the_status(settings, caller, patch, kind, status):
    settings.ASSIGNEES_CAN_UPDATE_STATUS = True

    assert_answers(caller(kind), f"PATCH {DETAIL}", status, PATCHES[patch])


def test_the_setting_allows_nothing_else(settings, alice):
    settings.ASSIGNEES_CAN_UPDATE_STATUS = True

    for call in TABLE.keys() - {f"PATCH {DETAIL}"}:
        assert_answers(alice, call, TABLE[call]["assignee"])
    for call in (f"PUT {DETAIL}", "POST /task/tasks/"):
        assert_answers(alice, call, 403, {"status": "completed"})


@pytest.mark.parametrize("route", METHODS)
def test_other_methods_are_405(stranger, caller, route):
    users = permission_table.served_callers(TABLE, route)
    allowed = METHODS[route] | ({"HEAD"} if "GET" in METHODS[route] else set())
    before = rows_of_all_tables()

    for method in ALL_METHODS - METHODS[route]:
        answer = send(caller(users[-1]), f"{method} {route}")

        assert answer.status_code == 405
        assert set(answer["Allow"].split(", ")) == allowed
        assert send(stranger, f"{method} {route}").status_code == (405 if "anonymous" in users else 401)
    assert rows_of_all_tables() == before


def test_list_summary_and_export_have_only_visible_tasks(caller, create_task, dora):
    of_dora, of_nobody = create_task(assigned_to=dora.id), create_task()
    everything = {TASK, of_dora.pk, of_nobody.pk}
    seen = {"ada": everything, "alice": {TASK}, "bob": set(), "carol": set(), "dora": {of_dora.pk}}

    for kind in permission_table.served_callers(TABLE, "/task/tasks/"):
        client, expected = caller(kind), seen[CALLERS[kind]]
        lines = client.get("/task/tasks/export.csv").getvalue().decode().splitlines()[1:]

        assert {task["id"] for task in client.get("/task/tasks/").json()["results"]} == expected
        assert client.get("/task/tasks/summary/").json()["total"] == len(expected)
        assert {int(line.partition(",")[0]) for line in lines} == expected
