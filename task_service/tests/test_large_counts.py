"""A count far above the limit is not repeated, and is exact again as soon as it may be below it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from chassis.testing.threads import in_own_connection
from tasks import large_counts, summary
from tasks.models import Task
from tests.conftest import TASKS, uncommitted_change

pytestmark = pytest.mark.django_db(transaction=True)

MAX_COUNT = 3
LARGE = MAX_COUNT + large_counts.MARGIN  # a count that is remembered


@pytest.fixture(autouse=True)
def low_limit(monkeypatch):
    monkeypatch.setattr(summary, "MAX_COUNT", MAX_COUNT)
    monkeypatch.setattr(summary, "MORE", "more")


@pytest.fixture
def create_tasks(ada, alice):
    def create(number, **values):
        return Task.objects.bulk_create([Task(title="x", created_by=ada.id, **values) for _ in range(number)])

    return create


def counted(person, query=""):
    return person.get(f"{TASKS}summary/?{query}").json()["by_status"]["todo"]


def complete(tasks, *, by):
    Task.objects.filter(pk__in=[task.pk for task in tasks]).change(by_id=by.id, status="completed")


@pytest.mark.parametrize("query", ["", "priority=normal", "created_by=ada"])
def test_a_large_count_is_not_repeated_until_enough_tasks_have_changed(ada, create_tasks, query):
    tasks = create_tasks(LARGE)
    assert counted(ada, query) == "more"

    Task.objects.update(status="in_progress")  # without history, so that only a new count can see it
    assert counted(ada, query) == "more"
    complete(tasks[: large_counts.MARGIN - 1], by=ada)
    assert counted(ada, query) == "more"
    complete(tasks[-1:], by=ada)
    assert counted(ada, query) == 0


def test_a_smaller_count_is_repeated(ada, create_tasks):
    create_tasks(LARGE - 1)
    assert counted(ada) == "more"

    Task.objects.update(status="in_progress")
    assert counted(ada) == 0


def test_each_caller_filter_and_connection_has_its_own(ada, alice, create_tasks):
    create_tasks(LARGE, assigned_to_id=alice.id)
    assert counted(ada) == counted(alice) == "more"
    Task.objects.update(status="in_progress")

    assert counted(ada) == counted(alice) == "more"
    assert counted(ada, "assigned_to=me") == counted(ada, "priority=normal") == 0
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_own_connection, lambda: counted(ada)).result() == [0]
    connection.close()
    assert counted(ada) == 0


@pytest.mark.parametrize("query", ["search=x", "search=x&priority=normal"])
def test_a_search_is_always_counted(ada, create_tasks, query):
    """Its results change with the word index, which writes no history."""
    tasks = create_tasks(LARGE)
    assert counted(ada, query) == "more"

    Task.objects.filter(pk__in=[task.pk for task in tasks]).update(title="y")
    assert counted(ada, query) == 0


def test_it_is_exact_whenever_tasks_leave_and_return(ada, create_tasks):
    tasks = create_tasks(LARGE + 2)
    left = len(tasks)
    for step in (1, 40, 40, 19, 1, 1, 1, 1, 1, 1):
        leaving, tasks = tasks[:step], tasks[step:]
        complete(leaving, by=ada)
        left -= step
        assert counted(ada) == ("more" if left > MAX_COUNT else left)
    assert left < MAX_COUNT
    create_tasks(LARGE)
    assert counted(ada) == "more"


def test_a_change_that_was_uncommitted_when_it_was_counted_is_seen(ada, create_tasks):
    tasks = create_tasks(LARGE)
    with uncommitted_change(tasks, by=ada, status="completed"):
        complete(create_tasks(1), by=ada)  # its history has higher ids
        assert counted(ada) == counted(ada) == "more"

    assert counted(ada) == 0


def test_it_remembers_a_limited_number_of_counts(ada, create_tasks, monkeypatch):
    monkeypatch.setattr(large_counts, "MAX_REMEMBERED", 2)
    create_tasks(LARGE)
    for day in range(1, 8):
        assert counted(ada, f"due_date_before=2030-01-0{day}") == 0
        assert counted(ada, f"due_date=none&created_by=ada,{day}") == "more"

    assert len(large_counts.remembered[connection.connection]) <= 2
