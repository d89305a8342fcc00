"""ASSIGNEES_CAN_UPDATE_STATUS lets assignees change the status of their tasks, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from chassis.auth.tokens import Caller
from chassis.testing.threads import wait_for_lock_waiter
from directory.models import User
from tasks.models import Activity, Task

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"
DONE = {"status": "completed"}


def path(task):
    return f"{TASKS}{task.pk}/"


@pytest.fixture
def task(create_task, alice):
    return create_task(assigned_to=alice.id)


@pytest.fixture
def allowed(settings):
    settings.ASSIGNEES_CAN_UPDATE_STATUS = True


@pytest.fixture
def stored():
    return lambda: (list(Task.objects.order_by("pk").values()), Activity.objects.count())


def test_it_is_off_by_default(alice, task, stored):
    before = stored()

    answer = alice.patch(path(task), DONE)

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert stored() == before


@pytest.mark.usefixtures("allowed")
class TestAllowed:
    def test_it_works(self, ada, alice, task):
        answer = alice.patch(path(task), {"status": "In Progress"})

        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["version"]) == ("in_progress", 2)
        assert ada.get(path(task)).json() == answer.json()
        (row,) = alice.get(f"{path(task)}activity/").json()["results"]
        assert (row["by"], row["field"]) == ({"id": alice.id, "username": "alice"}, "status")
        assert (row["from"], row["to"]) == ("todo", "in_progress")

    def test_completing_and_reopening_set_completed_at(self, alice, task):
        completed = alice.patch(path(task), DONE).json()
        reopened = alice.patch(path(task), {"status": "todo"}).json()

        assert (completed["completed_at"], reopened["completed_at"]) == (completed["updated_at"], None)

    @pytest.mark.parametrize("value", ["bogus", "", None, 1, True, [], {}, ["todo"]], ids=repr)
    def test_an_invalid_status_is_400(self, alice, task, stored, value):
        before = stored()

        answer = alice.patch(path(task), {"status": value})

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["status"]
        assert stored() == before

    def test_other_changes_are_403(self, alice, task, stored):
        before = stored()
        rejected = [
            *(("patch", path(task), body) for body in ({}, {"title": "x"}, {**DONE, "title": "x"}, {"Status": "todo"})),
            *(("patch", path(task), {**DONE, name: None}) for name in ("assigned_to", "id", "version", "nonsense")),
            *(("patch", path(task), body) for body in ([], [DONE], ["status"], "status", 7)),
            *(("put", path(task), body) for body in (DONE, {**DONE, "title": task.title})),
            ("delete", path(task), None),
            ("delete", path(task), DONE),
            ("post", TASKS, DONE),
            ("post", f"{TASKS}bulk/", {"ids": [task.pk], "set": DONE}),
        ]

        for method, url, body in rejected:
            answer = getattr(alice, method)(url, body)
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied"), (method, body)
        assert stored() == before

    def test_status_with_other_fields_is_403_with_a_hint(self, ada, alice, bob, task):
        more = {**DONE, "title": "x"}

        answers = [who.patch(path(task), body) for who, body in ((alice, more), (alice, {"title": "x"}), (bob, more))]

        assert [answer.status_code for answer in answers] == [403, 403, 404]
        assert "send `status` alone" in answers[0].json()["detail"]
        assert "status" not in answers[1].json()["detail"]

    def test_an_empty_body_is_403(self, ada, alice, bob, task):
        answers = [who.generic("PATCH", path(task), b"", "application/json") for who in (alice, bob, ada)]

        assert [answer.status_code for answer in answers] == [403, 404, 400]

    def test_query_parameters_are_400(self, alice, task, stored):
        before = stored()

        assert alice.patch(f"{path(task)}?status=completed", DONE).status_code == 400
        assert stored() == before

    def test_other_callers_get_404(self, alice, bob, charlie, task, create_task, stored):
        unassigned = create_task(created_by=bob.id)
        before = stored()

        answers = [bob.patch(path(task), DONE), bob.patch(path(unassigned), DONE), bob.patch(f"{TASKS}{2**40}/", DONE)]

        assert [answer.status_code for answer in answers] == [404] * 3
        assert charlie.patch(path(task), DONE).status_code == 401
        assert stored() == before

    @pytest.mark.parametrize("to", ["bob", None])
    def test_a_former_assignee_gets_404(self, ada, alice, bob, task, stored, to):
        ada.patch(path(task), {"assigned_to": bob.id if to else None})
        before = stored()

        for headers in ({}, {"If-Match": "*"}):
            assert alice.patch(path(task), DONE, headers=headers).status_code == 404
        assert stored() == before

    def test_a_demoted_admin_changes_only_assigned_tasks(self, ada, task, create_task):
        User.objects.filter(pk=ada.id).update(role="user")
        own = create_task(assigned_to=ada.id)

        assert ada.patch(path(task), DONE).status_code == 404
        assert ada.patch(path(own), {**DONE, "title": "x"}).status_code == 403
        assert ada.patch(path(own), DONE).status_code == 200

    def test_if_match_applies_to_assignees(self, ada, alice, task):
        tag = alice.get(path(task))["ETag"]
        ada.patch(path(task), {"title": "Changed"})

        stale = alice.patch(path(task), DONE, headers={"If-Match": tag})
        wrong = alice.patch(path(task), DONE, headers={"If-Match": "nonsense"})
        fresh = alice.patch(path(task), DONE, headers={"If-Match": alice.get(path(task))["ETag"]})

        assert (stale.status_code, stale.json()["changed_fields"]) == (412, ["title"])
        assert (wrong.status_code, fresh.status_code, fresh.json()["version"]) == (400, 200, 3)
        assert fresh["ETag"] == alice.get(path(task))["ETag"]

    def test_admins_can_change_all_fields(self, ada, task):
        assert ada.patch(path(task), {**DONE, "title": "Changed"}).json()["title"] == "Changed"

    def test_the_queryset_changes_only_visible_tasks(self, ada, alice, bob, task):
        callers = [Caller(who.id, who.username, who.role, 0, 1) for who in (ada, alice, bob)]

        changed = [
            Task.objects.visible_to(caller).filter(pk=task.pk).change(by_id=caller.id, status=status)
            for caller, status in zip(callers, Task.Status.values, strict=True)
        ]

        assert [[each.pk for each in found] for found in changed] == [[task.pk], [task.pk], []]
        assert Task.objects.get().status == "in_progress"

    @pytest.mark.django_db(transaction=True)
    def test_a_concurrent_reassignment_makes_the_change_404(self, ada, alice, bob, task):
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                Task.objects.filter(pk=task.pk).change(by_id=ada.id, assigned_to_id=bob.id)
                running = pool.submit(alice.patch, path(task), DONE)
                wait_for_lock_waiter()
            answer = running.result()
            pool.submit(lambda: connection.close()).result()

        task.refresh_from_db()
        assert answer.status_code == 404
        assert (task.status, task.assigned_to_id, task.version) == ("todo", bob.id, 2)
        assert Activity.objects.get().field == "assigned_to"
