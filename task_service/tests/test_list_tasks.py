import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tasks.models import Task

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"


def titles(answer):
    assert answer.status_code == 200, answer.content
    return [task["title"] for task in answer.json()["results"]]


def test_it_works(ada, create_task):
    first, second = create_task(title="first"), create_task(title="second")

    answer = ada.get(TASKS)

    assert answer.status_code == 200
    assert answer.json() == {
        "next": None,
        "previous": None,
        "results": [ada.get(f"{TASKS}{task.pk}/").json() for task in (second, first)],
    }


def test_an_empty_list_is_a_list(alice):
    assert alice.get(TASKS).json() == {"next": None, "previous": None, "results": []}


def test_tasks_without_due_date_sort_last_both_ways(ada, create_task):
    for title, due_date in [("some", "2026-01-02"), ("never", None), ("early", "2026-01-01"), ("late", "2026-01-03")]:
        create_task(title=title, due_date=due_date)

    assert titles(ada.get(f"{TASKS}?ordering=due_date")) == ["early", "some", "late", "never"]
    assert titles(ada.get(f"{TASKS}?ordering=-due_date")) == ["late", "some", "early", "never"]


def test_priority_sorts_by_rank_and_not_by_name(ada, create_task):
    for priority in (Task.Priority.HIGH, Task.Priority.LOW, Task.Priority.URGENT, Task.Priority.NORMAL):
        create_task(title=priority.label, priority=priority)

    assert titles(ada.get(f"{TASKS}?ordering=priority")) == ["low", "normal", "high", "urgent"]
    assert titles(ada.get(f"{TASKS}?ordering=-priority")) == ["urgent", "high", "normal", "low"]


def test_ties_are_broken_by_id_in_the_same_direction(ada, create_task):
    for title in ("first", "second", "third"):
        create_task(title=title, due_date="2026-01-01" if title != "third" else None)
    create_task(title="fourth")

    assert titles(ada.get(f"{TASKS}?ordering=priority")) == ["first", "second", "third", "fourth"]
    assert titles(ada.get(f"{TASKS}?ordering=-priority")) == ["fourth", "third", "second", "first"]
    assert titles(ada.get(f"{TASKS}?ordering=-due_date")) == ["second", "first", "fourth", "third"]


def test_a_changed_task_is_first_by_updated_at(ada, create_task):
    oldest = create_task(title="oldest")
    create_task(title="newest")

    ada.patch(f"{TASKS}{oldest.pk}/", {"priority": "high"})

    assert titles(ada.get(f"{TASKS}?ordering=-updated_at")) == ["oldest", "newest"]
    assert titles(ada.get(f"{TASKS}?ordering=-created_at")) == ["newest", "oldest"]


@pytest.mark.parametrize(
    "ordering", ["title", "-", "--id", "+id", "id,priority", "due_date__year", "assigned_to__password", "ID", "?", "pk"]
)
def test_an_unknown_ordering_is_400(ada, ordering):
    answer = ada.get(TASKS, {"ordering": ordering})

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["ordering"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("statsu", "status"),
        ("assignee", "assigned_to"),
        ("due_date__foo", "due_date"),
        ("assigned_to__role", "assigned_to"),
        ("page", "page_size"),
        ("Ordering", "ordering"),
        ("created_by__password", "created_by"),
        ("offset", None),
        ("\0", None),
    ],
)
def test_an_unknown_parameter_is_400_with_a_suggestion(ada, create_task, name, nearest):
    answer = ada.get(TASKS, {name: "1"})

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["code"]) == (400, name, "unknown_parameter")
    assert f"did you mean {nearest}" in error["detail"] if nearest else error["detail"] == "Unknown query parameter."


def test_a_parameter_with_an_empty_name_is_400(ada):
    answer = ada.get(f"{TASKS}?=1")

    assert answer.status_code == 400
    assert [error["code"] for error in answer.json()["errors"]] == ["unknown_parameter"]
    assert "ErrorDetail" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "ordering=id&ordering=id",
        "page_size=1&page_size=2",
        "cursor=a&cursor=b",
        "due_date=2026-01-01&due_date=2026-01-02",
        "due_date_after=2026-01-01&due_date_after=2026-01-02",
        "overdue=true&overdue=false",
        "overdue=true&overdue=true",
    ],
)
def test_a_repeated_single_parameter_is_400(ada, query):
    answer = ada.get(f"{TASKS}?{query}")

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (400, query.partition("=")[0])
    assert error["code"] == "repeated_parameter"


@pytest.mark.parametrize(
    "name", ["status", "priority", "due_date", "overdue", "assigned_to", "ordering", "page_size", "cursor"]
)
def test_a_nul_character_is_400(ada, name):
    answer = ada.get(f"{TASKS}?{name}=%00")

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [name]


@pytest.mark.parametrize(
    "query", ["", "ordering=due_date", "overdue=false", "overdue=true", "status=todo&assigned_to=me"]
)
def test_fifty_rows_take_as_many_statements_as_one(ada, create_task, query):
    def statements():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            answer = ada.get(f"{TASKS}?page_size=50&{query}")
        return len(captured), len(answer.json()["results"])

    values = {"assigned_to": ada.id, "due_date": "2001-01-01" if query == "overdue=true" else None}
    create_task(**values)
    for_one = statements()
    for _ in range(49):
        create_task(**values)
    for_fifty = statements()

    assert (for_one[1], for_fifty[1]) == (1, 50)
    assert for_one[0] == for_fifty[0] <= 3


def test_head_is_get_without_the_body(ada):
    answer = ada.head(TASKS)

    assert (answer.status_code, answer.content) == (200, b"")
