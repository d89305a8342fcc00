"""Bulk changes by ids."""

from random import Random

import pytest

from directory.models import User
from directory.person import Person
from tasks.models import Activity, Task
from tests.conftest import TASKS, blocked_by, history, invalid_fields, stored_tasks, task_url
from tests.test_statements import MAX_WRITE_STATEMENTS, statements

pytestmark = pytest.mark.django_db

BULK = f"{TASKS}bulk/"


def change(person, ids, **values):
    return person.post(BULK, {"ids": ids, "set": values})


@pytest.fixture
def tasks(create_task):
    return [create_task(title=title) for title in ("one", "two", "three")]


@pytest.fixture
def ids(tasks):
    return [task.pk for task in tasks]


def test_it_works(ada, alice, tasks, user_service):
    one, two, three = tasks

    answer = change(ada, [three.pk, one.pk], status="In Progress", priority="high", assigned_to=alice.id)

    changed = answer.json()["updated"]
    assert (answer.status_code, answer.json().keys()) == (200, {"updated"})
    assert changed == [ada.get(task_url(task)).json() for task in (three, one)]
    for task in changed:
        assert (task["status"], task["priority"], task["version"]) == ("in_progress", "high", 2)
        assert task["assignee"] == {"id": alice.id, "username": "alice"}
    assert ada.get(task_url(two)).json()["version"] == 1


def test_each_task_gets_its_own_history_entries(ada, tasks, create_task):
    late = create_task(due_date="2030-01-01")

    change(ada, [task.pk for task in (*tasks, late)], due_date="2031-12-31")

    for task in (*tasks, late):
        (row,) = history(ada, task)
        assert (row["field"], row["from"], row["to"]) == ("due_date", task.due_date, "2031-12-31")
        assert (row["version"], row["by"]) == (2, {"id": ada.id, "username": "ada"})


def test_a_task_that_already_has_the_values_stays_unchanged(ada, tasks, ids):
    Task.objects.filter(pk=ids[1]).change(by_id=ada.id, status="completed")
    before = ada.get(task_url(tasks[1])).json()

    answer = change(ada, ids, status="Completed")

    assert answer.json()["updated"][1] == before
    assert [task["version"] for task in answer.json()["updated"]] == [2, 2, 2]
    assert all(task["completed_at"] for task in answer.json()["updated"])
    assert Activity.objects.filter(task=ids[1]).count() == 1


# Ids


@pytest.mark.parametrize(
    "bad",
    [
        *([], None, 1, "1", True, {}, {"0": 1}, [None], ["1"], [True], [1.0], [0], [-1], [2**63], [[1]], [{}]),
        *([1, "2"], [1, 1], [3, 1, 2, 3], list(range(1, 102)), [1] * 100_000),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_invalid_ids_are_400(ada, create_task, bad):
    for id_ in (1, 2, 3):
        create_task(id=id_)
    before = stored_tasks()

    assert invalid_fields(change(ada, bad, title="Changed")) == ["ids"]
    assert stored_tasks() == before


def test_missing_ids_are_listed_and_nothing_is_changed(ada, ids):
    before = stored_tasks()

    answer = change(ada, [ids[0], 2**63 - 1, ids[1], 2**40, ids[2]], title="Changed")

    assert invalid_fields(answer) == ["ids"]
    (error,) = answer.json()["errors"]
    assert (error["code"], error["detail"].partition(": ")[2]) == ("unknown_task", f"{2**63 - 1}, {2**40}.")
    assert stored_tasks() == before


def test_a_hundred_tasks_take_as_many_statements_as_one(ada, alice, create_task):
    ids = [create_task(title=f"Task {number}").pk for number in range(101)]
    Random(1).shuffle(ids)
    values = {"title": "Weed", "status": "completed", "priority": "high", "assigned_to": alice.id}

    _, for_one = statements(change, ada, ids[:1], **values)
    answer, for_many = statements(change, ada, ids[1:], **values)

    assert [task["id"] for task in answer.json()["updated"]] == ids[1:]
    assert {task["version"] for task in answer.json()["updated"]} == {2}
    assert Activity.objects.count() == 4 * 101
    assert for_one == for_many <= MAX_WRITE_STATEMENTS


# Values


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        *((values, ["set"]) for values in ({}, None, [], [{"title": "x"}], "title")),
        ({"title": ""}, ["set.title"]),
        ({"title": "x", "titel": "x"}, ["set.titel"]),
        ({"title": None, "status": "bogus", "priority": 1}, ["set.priority", "set.status", "set.title"]),
        ({"due_date": "2026-02-30", "assigned_to": "x" * 65}, ["set.assigned_to", "set.due_date"]),
        ({"id": 7}, ["set.id"]),
        ({"version": 1, "created_by": 101, "is_overdue": False}, ["set.created_by", "set.is_overdue", "set.version"]),
        ({"description": "x" * 50_001}, ["set.description"]),
        ({"set": {"title": "x"}}, ["set.set"]),
        *(({"assigned_to": who}, ["set.assigned_to"]) for who in (99, 103, "103", "bob")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_invalid_values_are_400_with_their_path(ada, bob, ids, user_service, values, fields):
    User.objects.filter(pk=bob.id).update(is_active=False)
    user_service.add(bob, is_active=False)
    before = stored_tasks()

    answer = ada.post(BULK, {"ids": ids, "set": values})

    assert sorted(invalid_fields(answer)) == fields
    assert stored_tasks() == before


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
def test_an_invalid_body_is_400(ada, create_task, body, fields):
    create_task(id=1)
    before = stored_tasks()

    assert sorted(invalid_fields(ada.post(BULK, body))) == fields
    assert stored_tasks() == before


def test_other_errors_prevent_the_lookup_of_the_assignee(ada, newcomer, ids, user_service):
    answers = [
        change(ada, [], assigned_to=newcomer.id),
        change(ada, ids, assigned_to=newcomer.id, title=""),
        ada.post(BULK, {"ids": ids, "set": {"assigned_to": newcomer.id}, "nonsense": 1}),
    ]

    assert [answer.status_code for answer in answers] == [400] * 3
    assert user_service.calls == []


def test_an_unavailable_user_service_is_503(ada, newcomer, ids, user_service):
    user_service.reactions = [lambda call: call.answer({}, status=500)]
    before = stored_tasks()

    rejected = change(ada, ids, assigned_to=newcomer.id, title="Changed")
    unchanged = stored_tasks() == before
    accepted = change(ada, ids, assigned_to=newcomer.id)

    assert (rejected.status_code, rejected["Retry-After"], unchanged) == (503, "2", True)
    assert [task["assignee"]["username"] for task in accepted.json()["updated"]] == ["nora"] * 3
    assert [task["assignee"] for task in change(ada, ids, assigned_to=None).json()["updated"]] == [None] * 3


# Concurrency


@pytest.mark.django_db(transaction=True)
def test_a_concurrently_deleted_assignee_gets_no_tasks(ada, alice, ids):
    before = stored_tasks()

    answer = blocked_by(
        lambda: User.objects.upsert([Person.deleted(alice.id, 2000)]),
        lambda: change(ada, ids, title="Changed", assigned_to=alice.id),
    )

    assert (invalid_fields(answer), answer.json()["errors"][0]["code"]) == (["set.assigned_to"], "unknown_user")
    assert stored_tasks() == before


@pytest.mark.django_db(transaction=True)
def test_overlapping_changes_in_opposite_order_do_not_deadlock(ada, create_task, at_once):
    tasks = [create_task() for _ in range(30)]
    ids = [task.pk for task in tasks]

    for number in range(5):
        answers = at_once(
            (ada.post, BULK, {"ids": ids[:20], "set": {"title": f"up {number}"}}),
            (ada.post, BULK, {"ids": ids[:9:-1], "set": {"title": f"down {number}"}}),
            (ada.patch, task_url(tasks[15]), {"title": f"one {number}"}),
        )

        assert [answer.status_code for answer in answers] == [200] * 3
        titles = list(Task.objects.filter(pk__in=ids[10:20]).exclude(pk=ids[15]).values_list("title", flat=True))
        assert titles in ([f"up {number}"] * 9, [f"down {number}"] * 9)
