"""ASSIGNEES_CAN_UPDATE_STATUS lets assignees change the status of their tasks, and nothing else."""

import pytest

from chassis.auth.tokens import Caller
from directory.models import User
from tasks.models import Activity, Task
from tests.conftest import blocked_by, history, invalid_fields, stored_tasks, task_url

pytestmark = pytest.mark.django_db

DONE = {"status": "completed"}


@pytest.fixture
def task(create_task, alice):
    return create_task(assigned_to=alice.id)


@pytest.fixture(autouse=True)
def _allowed(settings):
    settings.ASSIGNEES_CAN_UPDATE_STATUS = True


def test_it_works(ada, alice, task):
    answer = alice.patch(task_url(task), {"status": "In Progress"})

    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["version"]) == ("in_progress", 2)
    assert ada.get(task_url(task)).json() == answer.json()
    (row,) = history(alice, task)
    assert (row["by"], row["field"]) == ({"id": alice.id, "username": "alice"}, "status")
    assert (row["from"], row["to"]) == ("todo", "in_progress")


@pytest.mark.parametrize("value", ["bogus", "", None, 1, True, [], {}, ["todo"]], ids=repr)
def test_an_invalid_status_is_400(alice, task, value):
    before = stored_tasks()

    assert invalid_fields(alice.patch(task_url(task), {"status": value})) == ["status"]
    assert stored_tasks() == before


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"title": "x"}, {**DONE, "title": "x"}, {"Status": "todo"}, [], [DONE], ["status"], "status", 7),
        *({**DONE, name: None} for name in ("assigned_to", "id", "version", "nonsense")),
    ],
    ids=repr,
)
def test_any_other_body_is_403(alice, task, body):
    before = stored_tasks()

    answer = alice.patch(task_url(task), body)

    assert (answer.status_code, answer.json()["code"], stored_tasks()) == (403, "permission_denied", before)


def test_only_status_with_other_fields_gets_a_hint(alice, task):
    with_status, without = (alice.patch(task_url(task), {**more, "title": "x"}) for more in (DONE, {}))

    assert "send `status` alone" in with_status.json()["detail"]
    assert "status" not in without.json()["detail"]


def test_an_empty_body_is_403(ada, alice, bob, task):
    answers = [who.generic("PATCH", task_url(task), b"", "application/json") for who in (alice, bob, ada)]

    assert [answer.status_code for answer in answers] == [403, 404, 400]


def test_a_demoted_admin_changes_only_assigned_tasks(ada, task, create_task):
    User.objects.filter(pk=ada.id).update(role="user")
    own = create_task(assigned_to=ada.id)

    assert ada.patch(task_url(task), DONE).status_code == 404
    assert ada.patch(task_url(own), {**DONE, "title": "x"}).status_code == 403
    assert ada.patch(task_url(own), DONE).status_code == 200


def test_if_match_applies_to_assignees(ada, alice, task):
    tag = alice.get(task_url(task))["ETag"]
    ada.patch(task_url(task), {"title": "Changed"})

    stale = alice.patch(task_url(task), DONE, headers={"If-Match": tag})
    wrong = alice.patch(task_url(task), DONE, headers={"If-Match": "nonsense"})
    fresh = alice.patch(task_url(task), DONE, headers={"If-Match": alice.get(task_url(task))["ETag"]})

    assert (stale.status_code, stale.json()["changed_fields"]) == (412, ["title"])
    assert (wrong.status_code, fresh.status_code, fresh.json()["version"]) == (400, 200, 3)
    assert fresh["ETag"] == alice.get(task_url(task))["ETag"]


def test_the_queryset_changes_only_visible_tasks(ada, alice, bob, task):
    callers = [Caller(who.id, who.username, who.role, 0, 1) for who in (ada, alice, bob)]

    changed = [
        Task.objects.visible_to(caller).filter(pk=task.pk).change(by_id=caller.id, status=status)
        for caller, status in zip(callers, Task.Status.values, strict=True)
    ]

    assert [[each.pk for each in found] for found in changed] == [[task.pk], [task.pk], []]
    assert Task.objects.get().status == "in_progress"


@pytest.mark.django_db(transaction=True)
def test_a_concurrent_reassignment_makes_the_change_404(ada, alice, bob, task):
    answer = blocked_by(
        lambda: Task.objects.filter(pk=task.pk).change(by_id=ada.id, assigned_to_id=bob.id),
        lambda: alice.patch(task_url(task), DONE),
    )

    task.refresh_from_db()
    assert answer.status_code == 404
    assert (task.status, task.assigned_to_id, task.version) == ("todo", bob.id, 2)
    assert Activity.objects.get().field == "assigned_to"
