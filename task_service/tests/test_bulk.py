"""Bulk changes by ids."""

import os
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from chassis.testing.threads import wait_for_lock_waiter
from directory.models import User
from directory.person import Person
from tasks.models import Activity, Task

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"
BULK = f"{TASKS}bulk/"
SAVEPOINTS = ("SAVEPOINT", "RELEASE")


def change(person, ids, **values):
    return person.post(BULK, {"ids": ids, "set": values})


def invalid_fields(answer):
    """Return the fields of a 400."""
    assert answer.status_code == 400, answer.content
    return [error["field"] for error in answer.json()["errors"]]


@pytest.fixture
def tasks(create_task):
    return [create_task(title=title) for title in ("one", "two", "three")]


@pytest.fixture
def ids(tasks):
    return [task.pk for task in tasks]


@pytest.fixture
def rows():
    """Return all stored rows, to check that nothing changed."""
    return lambda: (list(Task.objects.order_by("pk").values()), Activity.objects.count())


def test_it_works(ada, alice, ids, user_service):
    one, two, three = ids

    answer = change(ada, [three, one], status="In Progress", priority="high", assigned_to=alice.id)

    tasks = answer.json()["updated"]
    assert (answer.status_code, answer.json().keys()) == (200, {"updated"})
    assert tasks == [ada.get(f"{TASKS}{id_}/").json() for id_ in (three, one)]
    for task in tasks:
        assert (task["status"], task["priority"], task["version"]) == ("in_progress", "high", 2)
        assert task["assignee"] == {"id": alice.id, "username": "alice"}
    assert ada.get(f"{TASKS}{two}/").json()["version"] == 1


def test_each_task_gets_its_own_history_entries(ada, ids, create_task):
    late = create_task(due_date="2030-01-01").pk

    change(ada, [*ids, late], due_date="2031-12-31")

    for id_, was in [*((id_, None) for id_ in ids), (late, "2030-01-01")]:
        (row,) = ada.get(f"{TASKS}{id_}/activity/").json()["results"]
        assert (row["field"], row["from"], row["to"]) == ("due_date", was, "2031-12-31")
        assert (row["version"], row["by"]) == (2, {"id": ada.id, "username": "ada"})


def test_a_task_that_already_has_the_values_stays_unchanged(ada, tasks, ids):
    Task.objects.filter(pk=ids[1]).change(by_id=ada.id, status="completed")
    before = ada.get(f"{TASKS}{ids[1]}/").json()

    answer = change(ada, ids, status="Completed")

    assert answer.json()["updated"][1] == before
    assert [task["version"] for task in answer.json()["updated"]] == [2, 2, 2]
    assert all(task["completed_at"] for task in answer.json()["updated"])
    assert Activity.objects.filter(task=ids[1]).count() == 1


def test_completed_at_is_kept_until_a_task_is_reopened(ada, ids):
    completed_at = ada.patch(f"{TASKS}{ids[0]}/", {"status": "completed"}).json()["completed_at"]

    completed = change(ada, ids, status="completed", title="Done").json()["updated"]
    reopened = change(ada, ids, status="todo").json()["updated"]

    assert [completed[0]["completed_at"], completed[1]["completed_at"]] == [completed_at, completed[1]["updated_at"]]
    assert [task["completed_at"] for task in reopened] == [None] * 3


def test_other_callers_are_refused(ada, alice, charlie, ids, create_task, rows):
    own = create_task(assigned_to=alice.id).pk
    before = rows()

    assert [change(who, [own], title="x").status_code for who in (alice, charlie, APIClient())] == [403, 401, 401]
    assert change(alice, [2**40], title="x").status_code == 403
    assert ada.get(BULK).status_code == ada.patch(BULK, {"title": "x"}).status_code == 405
    assert ada.post(f"{BULK}?status=todo", {"ids": ids, "set": {"title": "x"}}).status_code == 400
    assert rows() == before


# Ids


@pytest.mark.parametrize(
    "bad",
    [
        *([], None, 1, "1", True, {}, {"0": 1}, [None], ["1"], [True], [1.0], [0], [-1], [2**63], [[1]], [{}]),
        *([1, "2"], [1, 1], [3, 1, 2, 3], list(range(1, 102)), [1] * 100_000),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_invalid_ids_are_400(ada, create_task, bad, rows):
    for id_ in (1, 2, 3):
        create_task(id=id_)
    before = rows()

    assert invalid_fields(change(ada, bad, title="Changed")) == ["ids"]
    assert rows() == before


def test_missing_ids_are_listed_and_nothing_is_changed(ada, ids, rows):
    before = rows()

    answer = change(ada, [ids[0], 2**63 - 1, ids[1], 2**40, ids[2]], title="Changed")

    assert invalid_fields(answer) == ["ids"]
    (error,) = answer.json()["errors"]
    assert (error["code"], error["detail"].partition(": ")[2]) == ("unknown_task", f"{2**63 - 1}, {2**40}.")
    assert rows() == before


def test_a_hundred_tasks_take_few_statements_and_101_are_400(ada, alice, create_task):
    ids = [create_task(title=f"Task {number}").pk for number in range(100)]
    Random(1).shuffle(ids)
    rejected = change(ada, [*ids, create_task().pk], status="completed")

    with CaptureQueriesContext(connection) as captured:
        answer = change(ada, ids, status="completed", assigned_to=alice.id)

    assert (invalid_fields(rejected), rejected.json()["errors"][0]["code"]) == (["ids"], "invalid")
    assert [task["id"] for task in answer.json()["updated"]] == ids
    assert {task["version"] for task in answer.json()["updated"]} == {2}
    assert Activity.objects.count() == 200
    assert len([each for each in captured if not each["sql"].startswith(SAVEPOINTS)]) <= 13


# Values


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({}, ["set"]),
        (None, ["set"]),
        ([], ["set"]),
        ([{"title": "x"}], ["set"]),
        ("title", ["set"]),
        ({"title": ""}, ["set.title"]),
        ({"title": "x", "titel": "x"}, ["set.titel"]),
        ({"title": None, "status": "bogus", "priority": 1}, ["set.priority", "set.status", "set.title"]),
        ({"due_date": "2026-02-30", "assigned_to": "x" * 65}, ["set.assigned_to", "set.due_date"]),
        ({"id": 7}, ["set.id"]),
        ({"version": 1, "created_by": 101, "is_overdue": False}, ["set.created_by", "set.is_overdue", "set.version"]),
        ({"description": "x" * 50_001}, ["set.description"]),
        ({"set": {"title": "x"}}, ["set.set"]),
        ({"assigned_to": 99}, ["set.assigned_to"]),
        ({"assigned_to": 103}, ["set.assigned_to"]),
        ({"assigned_to": "103"}, ["set.assigned_to"]),
        ({"assigned_to": "bob"}, ["set.assigned_to"]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_invalid_values_are_400_with_their_path(ada, bob, ids, user_service, values, fields, rows):
    User.objects.filter(pk=bob.id).update(is_active=False)
    user_service.add(bob, is_active=False)
    before = rows()

    answer = ada.post(BULK, {"ids": ids, "set": values})

    assert sorted(invalid_fields(answer)) == fields
    assert rows() == before


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["ids", "set"]),
        ({"ids": [1]}, ["set"]),
        ({"set": {"title": "x"}}, ["ids"]),
        ({"ids": [], "set": {"title": ""}}, ["ids", "set.title"]),
        ({"ids": [1], "set": {"title": "x"}, "status": "todo"}, ["status"]),
        ([{"id": 1, "title": "x"}], [None]),
        ([], [None]),
    ],
    ids=repr,
)
def test_an_invalid_body_is_400(ada, create_task, body, fields, rows):
    create_task(id=1)
    before = rows()

    assert sorted(invalid_fields(ada.post(BULK, body))) == fields
    assert ada.post(BULK).status_code == 400
    assert rows() == before


def test_other_errors_prevent_the_lookup_of_the_assignee(ada, newcomer, ids, user_service):
    answers = [
        change(ada, [], assigned_to=newcomer.id),
        change(ada, ids, assigned_to=newcomer.id, title=""),
        ada.post(BULK, {"ids": ids, "set": {"assigned_to": newcomer.id}, "nonsense": 1}),
    ]

    assert [answer.status_code for answer in answers] == [400] * 3
    assert user_service.calls == []


def test_an_unavailable_user_service_is_503(ada, newcomer, ids, user_service, rows):
    user_service.reactions = [lambda call: call.answer({}, status=500)]
    before = rows()

    rejected = change(ada, ids, assigned_to=newcomer.id, title="Changed")
    unchanged = rows() == before
    accepted = change(ada, ids, assigned_to=newcomer.id)

    assert (rejected.status_code, rejected["Retry-After"], unchanged) == (503, "2", True)
    assert [task["assignee"]["username"] for task in accepted.json()["updated"]] == ["nora"] * 3
    assert [task["assignee"] for task in change(ada, ids, assigned_to=None).json()["updated"]] == [None] * 3


# Concurrency


@pytest.mark.django_db(transaction=True)
def test_a_concurrently_deleted_assignee_gets_no_tasks(ada, alice, ids, rows):
    before = rows()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            User.objects.upsert([Person.deleted(alice.id, 2000)])
            running = pool.submit(change, ada, ids, title="Changed", assigned_to=alice.id)
            wait_for_lock_waiter()
        answer = running.result()
        pool.submit(lambda: connection.close()).result()

    assert invalid_fields(answer) == ["set.assigned_to"]
    assert answer.json()["errors"][0]["code"] == "unknown_user"
    assert rows() == before


@pytest.mark.django_db(transaction=True)
def test_overlapping_changes_in_opposite_order_do_not_deadlock(ada, create_task, at_once):
    ids = [create_task().pk for _ in range(30)]

    for number in range(int(os.environ.get("RACE_ROUNDS", 50)) // 10):
        answers = at_once(
            (ada.post, BULK, {"ids": ids[:20], "set": {"title": f"up {number}"}}),
            (ada.post, BULK, {"ids": ids[:9:-1], "set": {"title": f"down {number}"}}),
            (ada.patch, f"{TASKS}{ids[15]}/", {"title": f"one {number}"}),
        )

        assert [answer.status_code for answer in answers] == [200] * 3
        titles = list(Task.objects.filter(pk__in=ids[10:20]).exclude(pk=ids[15]).values_list("title", flat=True))
        assert titles in ([f"up {number}"] * 9, [f"down {number}"] * 9)
