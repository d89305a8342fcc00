"""Bulk changes by a filter, confirmed by the number of tasks."""

import pytest

from notifications.models import Notification
from tasks.bulk import MAX_MATCHING
from tasks.models import Task
from tests.conftest import TASKS, blocked_by, history, invalid_fields, stored_tasks
from tests.test_statements import MAX_WRITE_STATEMENTS, statements

pytestmark = pytest.mark.django_db

BULK = f"{TASKS}bulk/"


def change(person, filters, expected_count=None, **values):
    count = {} if expected_count is None else {"expected_count": expected_count}
    return person.post(BULK, {"filter": filters, "set": values, **count})


@pytest.fixture
def tasks(create_task, alice, bob):
    """Two open tasks and a completed one of alice, and one of bob."""
    return [
        create_task(title="one", assigned_to=alice.id),
        create_task(title="two", assigned_to=alice.id, status="in_progress", due_date="2001-01-01"),
        create_task(title="done", assigned_to=alice.id, status="completed"),
        create_task(title="other", assigned_to=bob.id),
    ]


def test_open_tasks_of_one_user_are_reassigned_to_another(ada, alice, bob, tasks):
    answer = change(ada, {"assigned_to": [alice.id], "status": ["todo", "in_progress"]}, 2, assigned_to="bob")

    assert (answer.status_code, answer.json()) == (200, {"updated_ids": [tasks[0].pk, tasks[1].pk]})
    assert [task.assigned_to_id for task in Task.objects.order_by("pk")] == [bob.id, bob.id, alice.id, bob.id]
    assert [row["by"] for row in history(ada, tasks[0])] == [{"id": ada.id, "username": "ada"}]
    assert Notification.objects.filter(recipient_id=bob.id, event__kind="task_assigned").count() == 2


@pytest.mark.parametrize(
    ("filters", "titles"),
    [
        ({"overdue": True}, {"two"}),
        ({"overdue": False, "assigned_to": ["alice"]}, {"one", "done"}),
        ({"due_date": "none", "status": ["To Do"]}, {"one", "other"}),
        ({"search": "other"}, {"other"}),
        ({"assigned_to": ["me"]}, set()),
        ({"assigned_to": ["none", 103], "created_by": ["me"]}, {"other"}),
        ({"priority": ["normal"], "due_date_before": "2001-01-01"}, {"two"}),
        ({"completed_after": "2001-01-01", "due_soon": False}, {"done"}),
    ],
)
def test_it_accepts_the_filters_of_the_list(ada, tasks, filters, titles):
    answer = change(ada, filters, len(titles), priority="high")

    assert answer.status_code == 200, answer.content
    assert set(Task.objects.filter(priority=3).values_list("title", flat=True)) == titles


def test_a_missing_count_is_400_with_the_actual_count(ada, tasks):
    before = stored_tasks()

    answer = change(ada, {"assigned_to": ["alice"]}, title="Changed")

    assert (invalid_fields(answer), answer.json()["actual_count"]) == (["expected_count"], 3)
    assert answer.json()["detail"].startswith("expected_count: 3 tasks match")
    assert stored_tasks() == before


@pytest.mark.parametrize("expected", [0, 2, 4, 1000])
def test_a_wrong_count_is_409_with_the_actual_count(ada, tasks, expected):
    before = stored_tasks()

    answer = change(ada, {"assigned_to": ["alice"]}, expected, title="Changed")

    assert (answer.status_code, answer.json()["code"], answer.json()["actual_count"]) == (409, "count_differs", 3)
    assert stored_tasks() == before


def test_more_matches_than_the_maximum_are_400(ada):
    Task.objects.bulk_create(Task(title="Water", created_by=101) for _ in range(MAX_MATCHING + 1))
    before = stored_tasks()

    uncounted = change(ada, {"status": ["todo"]}, title="Changed")
    counted = change(ada, {"status": ["todo"]}, MAX_MATCHING + 1, title="Changed")
    too_few = change(ada, {"status": ["todo"]}, MAX_MATCHING, title="Changed")

    assert (invalid_fields(uncounted), uncounted.json()["errors"][0]["code"]) == (["filter"], "too_many")
    assert invalid_fields(counted) == ["expected_count"]
    assert (too_few.status_code, too_few.json()["actual_count"]) == (409, MAX_MATCHING + 1)
    assert stored_tasks() == before


def test_a_thousand_tasks_take_as_many_statements_as_one(ada, alice, bob, create_task):
    create_task(assigned_to=alice.id)
    filters = {"assigned_to": ["alice"], "status": ["todo"]}
    values = {"assigned_to": "bob", "status": "completed", "priority": "high"}

    one, for_one = statements(change, ada, filters, 1, **values)
    Task.objects.bulk_create(Task(title="Water", created_by=101, assigned_to_id=alice.id) for _ in range(MAX_MATCHING))
    many, for_many = statements(change, ada, filters, MAX_MATCHING, **values)

    assert (len(one.json()["updated_ids"]), len(many.json()["updated_ids"])) == (1, MAX_MATCHING)
    assert for_one == for_many <= MAX_WRITE_STATEMENTS + 1  # one more for the accounts in the filter


@pytest.mark.parametrize(
    ("filters", "fields"),
    [
        ({}, ["filter"]),
        ([], ["filter"]),
        ({"statsu": ["todo"]}, ["filter.statsu"]),
        ({"ordering": "id", "bom": True}, ["filter.bom", "filter.ordering"]),
        *(({"status": value}, ["filter.status"]) for value in ("todo", [], [1], ["todo,completed"])),
        ({"status": ["bogus"], "overdue": True}, ["filter.status"]),
        ({"overdue": "true"}, ["filter.overdue"]),
        ({"overdue": None, "search": ""}, ["filter.overdue", "filter.search"]),
        *(({"assigned_to": value}, ["filter.assigned_to"]) for value in (102, [True])),
        ({"due_date": "2026-02-30"}, ["filter.due_date"]),
        ({"search": "x" * 201}, ["filter.search"]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_invalid_filter_is_400_with_its_path(ada, tasks, filters, fields):
    before = stored_tasks()

    answer = change(ada, filters, 1, title="x")

    assert sorted(invalid_fields(answer)) == fields
    assert "None" not in answer.json()["detail"]
    assert stored_tasks() == before


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"filter": {"search": "x"}, "set": {"title": ""}, "expected_count": -1}, ["expected_count", "set.title"]),
        ({"filter": {"search": "x"}, "set": {"title": "x"}, "expected_count": True}, ["expected_count"]),
        ({"filter": {"search": "x"}, "set": {"title": "x"}, "expected_count": "1"}, ["expected_count"]),
        ({"filter": {"search": "x"}, "ids": [1], "set": {"title": "x"}}, ["filter"]),
        ({"ids": [1], "set": {"title": "x"}, "expected_count": 1}, ["expected_count"]),
        ({"filter": {"search": "x"}, "delete": True, "expected_count": 1}, ["delete"]),
        ({"filter": {"search": "x"}, "expected_count": 1}, ["set"]),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_an_invalid_body_is_400(ada, tasks, body, fields):
    before = stored_tasks()

    assert sorted(invalid_fields(ada.post(BULK, body))) == fields
    assert stored_tasks() == before


def test_at_most_twenty_unknown_filters_are_reported(ada):
    assert len(invalid_fields(change(ada, {f"statu{number}": 1 for number in range(50_000)}, title="Changed"))) == 20


def test_an_unknown_assignee_is_looked_up_last(ada, newcomer, tasks, user_service):
    before = stored_tasks()

    uncounted = change(ada, {"search": "one"}, assigned_to=newcomer.id)
    user_service.reactions = [lambda call: call.answer({}, status=500)]
    silent = change(ada, {"search": "one"}, 1, assigned_to=newcomer.id)

    assert (uncounted.status_code, silent.status_code, stored_tasks()) == (400, 503, before)
    assert change(ada, {"search": "one"}, 1, assigned_to=newcomer.id).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_concurrent_change_makes_the_count_differ(ada, alice, bob, tasks):
    answer = blocked_by(
        lambda: Task.objects.filter(pk=tasks[1].pk).change(by_id=ada.id, assigned_to_id=bob.id),
        lambda: change(ada, {"assigned_to": ["alice"]}, 3, title="Changed"),
    )

    assert (answer.status_code, answer.json()["actual_count"]) == (409, 2)
    assert not Task.objects.filter(title="Changed").exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_concurrent_reassignments_one_is_a_conflict(ada, alice, bob, grace, tasks, at_once):
    body = {"filter": {"assigned_to": ["alice"]}, "expected_count": 3}

    answers = at_once(
        (ada.post, BULK, {**body, "set": {"assigned_to": bob.id}}),
        (grace.post, BULK, {**body, "set": {"assigned_to": grace.id}}),
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(set(Task.objects.exclude(title="other").values_list("assigned_to", flat=True))) == 1
