"""The history outlives the task; deletions are in the history and in the security log."""

import logging

import pytest
from django.db import OperationalError, connection, transaction

from chassis.testing.permission_table import response_content
from directory.models import User
from tasks.models import Activity, Task, TaskQuerySet
from tests.conftest import FULL, TASKS, history, results, task_url
from tests.deliveries import change

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

VALUES = FULL | {"assigned_to": 102}


@pytest.fixture
def task(ada, alice):
    """Created through the API, so that it has a history."""
    return Task.objects.get(pk=ada.post(TASKS, VALUES).json()["id"])


@pytest.fixture
def security_log(caplog):
    """Return actor, action and task of the lines in the security log, except for rejected requests."""
    caplog.set_level(logging.INFO, logger="security")

    def lines():
        records = [record for record in caplog.records if record.name == "security" and record.event != "authz_fail"]
        return [(each.event, each.actor, each.subject, each.object) for each in records]

    return lines


def test_it_works(ada, grace, task):
    before = history(ada, task)

    assert grace.delete(task_url(task)).status_code == 204

    deleted, *rest = history(ada, task)
    assert rest == before
    expected = {"version": 2, "kind": "deleted", "field": None, "from": VALUES, "to": None, "reason": None}
    assert {name: deleted[name] for name in expected} == expected
    assert deleted["by"] == {"id": grace.id, "username": "grace"}
    assert deleted["at"] > rest[0]["at"]
    assert ada.get(task_url(task)).status_code == 404


def test_the_deletion_entry_has_the_last_values(ada, task):
    last = {"title": "Feed the dog", "due_date": None, "assigned_to": None}
    ada.patch(task_url(task), last)

    ada.delete(task_url(task))

    deleted = history(ada, task)[0]
    assert (deleted["version"], deleted["from"]) == (3, VALUES | last)


@pytest.mark.parametrize("below", ["activity/", "notifications/"])
def test_a_task_that_never_existed_is_404(ada, task, below):
    assert ada.get(f"{TASKS}{task.pk + 1000}/{below}").status_code == 404


def test_only_admins_can_tell_deleted_from_missing(ada, alice, bob, grace, task):
    ada.delete(task_url(task))
    User.objects.filter(pk=grace.id).update(role="user")

    for person in (alice, bob, grace):
        deleted, missing = (person.get(f"{TASKS}{id_}/activity/") for id_ in (task.pk, task.pk + 1000))
        assert deleted.status_code == 404
        assert response_content(deleted) == response_content(missing)


def test_admins_can_read_the_ledger_of_a_deleted_task(ada, task):
    change(task, by=ada, status="completed")
    before = results(ada.get(task_url(task, "notifications/")))

    ada.delete(task_url(task))

    after = results(ada.get(task_url(task, "notifications/")))
    assert len(before) > 0
    assert [entry for entry in after if entry["kind"] != "task_deleted"] == before


# The security log


def test_a_deletion_is_in_the_security_log(grace, task, security_log, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        grace.delete(task_url(task))

    assert security_log() == [("sensitive_delete", grace.id, task.pk, "task")]


def test_a_deletion_by_the_service_itself_has_no_actor(ada, task, security_log, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        Task.objects.filter(pk=task.pk).remove(by_id=None)

    assert security_log() == [("sensitive_delete", None, task.pk, "task")]
    assert history(ada, task)[0]["by"] is None


@pytest.mark.parametrize(
    ("person", "headers", "status"),
    [("alice", {}, 403), ("bob", {}, 404), ("charlie", {}, 401), ("ada", {"If-Match": '"7.stale"'}, 412)],
)
def test_a_rejected_deletion_is_not_recorded(
    request, ada, task, security_log, django_capture_on_commit_callbacks, person, headers, status
):
    before = history(ada, task)

    with django_capture_on_commit_callbacks(execute=True):
        answer = request.getfixturevalue(person).delete(task_url(task), headers=headers)

    assert answer.status_code == status
    assert (history(ada, task), security_log()) == (before, [])


@COMMITTING
def test_a_failed_deletion_is_not_recorded(ada, task, security_log, monkeypatch):
    before = history(ada, task)

    def fail(*args, **kwargs):
        raise OperationalError("the disk is full")

    monkeypatch.setattr(TaskQuerySet, "delete", fail)
    assert ada.delete(task_url(task)).status_code == 503

    assert (history(ada, task), security_log()) == (before, [])


@COMMITTING
def test_a_rolled_back_deletion_is_not_recorded(ada, task, security_log):
    before = history(ada, task)

    with transaction.atomic():
        Task.objects.filter(pk=task.pk).remove(by_id=ada.id)
        transaction.set_rollback(True)

    assert (history(ada, task), security_log()) == (before, [])


# Races


@COMMITTING
def test_one_of_many_parallel_deletions_is_recorded(ada, alice, grace, at_once, security_log):
    for _ in range(5):
        task = Task.objects.get(pk=ada.post(TASKS, VALUES).json()["id"])

        answers = at_once(*[(person.delete, task_url(task)) for person in (ada, grace, ada, grace)])

        assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
        assert [row["kind"] for row in history(ada, task)] == ["deleted", "assigned", "created"]
        assert [line[2] for line in security_log()].count(task.pk) == 1


@COMMITTING
def test_a_change_during_a_deletion_is_before_it_or_404(ada, alice, at_once):
    for _ in range(10):
        task = Task.objects.get(pk=ada.post(TASKS, VALUES).json()["id"])

        changed, deleted = at_once((ada.patch, task_url(task), {"title": "New"}), (ada.delete, task_url(task)))

        assert (changed.status_code, deleted.status_code) in [(200, 204), (404, 204)]
        title, versions = ("New", [2, 1, 1]) if changed.status_code == 200 else ("Feed the cat", [1, 1])
        last, *rest = history(ada, task)
        assert (last["kind"], last["from"]["title"]) == ("deleted", title)
        assert [row["version"] for row in rest] == versions


# The previous version


def test_deletion_by_the_previous_version_keeps_the_history(ada, task):
    before = history(ada, task)

    with connection.cursor() as cursor:  # the statements of its cascade
        cursor.execute("DELETE FROM tasks_activity WHERE task_id IN (%s)", [task.pk])
        cursor.execute("DELETE FROM tasks_task WHERE id IN (%s)", [task.pk])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    assert not Task.objects.exists()
    assert history(ada, task) == before


def test_the_history_names_deleted_accounts(ada, grace, task):
    grace.delete(task_url(task))
    User.objects.filter(pk=grace.id).update(is_deleted=True, is_active=False)

    assert history(ada, task)[0]["by"] == {"id": grace.id, "username": "grace"}
    assert Activity.objects.filter(task=task.pk, kind="deleted").count() == 1
