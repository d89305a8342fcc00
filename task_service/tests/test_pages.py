from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from tasks.models import Task
from tests.conftest import TASKS

pytestmark = pytest.mark.django_db

COLUMNS = ["due_date", "created_at", "updated_at", "completed_at", "priority", "id"]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def ids(page):
    return [task["id"] for task in page["results"]]


def cursor_in(link):
    return parse_qs(urlsplit(link).query)["cursor"][0]


def walk(person, url, direction):
    """Follow the links from a page; return all pages, including the first."""
    pages = []
    while url is not None:
        answer = person.get(url)
        assert answer.status_code == 200, answer.content
        pages.append(answer.json())
        url = pages[-1][direction]
        assert len(pages) <= 50, "the links go round in circles"
    return pages


@pytest.fixture
def tasks(db):
    """45 rows with many ties, a third without a due date, half not completed, not in the order of their ids."""
    return Task.objects.bulk_create(
        Task(
            title=f"Task {n}",
            created_by=101,
            created_at=BEGIN + timedelta(microseconds=n * 7 % 9),
            updated_at=BEGIN + timedelta(seconds=n * 5 % 8),
            priority=n * 3 % 4 + 1,
            due_date=None if n % 3 == 0 else date(2026, 2, 1) + timedelta(days=n * 5 % 7),
            status="completed" if n % 2 else "todo",
            completed_at=BEGIN + timedelta(seconds=n * 7 % 5) if n % 2 else None,
        )
        for n in range(45)
    )


def in_order(tasks, ordering):
    column, descending = ordering.removeprefix("-"), ordering.startswith("-")
    dated = [task for task in tasks if getattr(task, column) is not None]
    undated = [task for task in tasks if getattr(task, column) is None]
    dated.sort(key=lambda task: (getattr(task, column), task.pk), reverse=descending)
    undated.sort(key=lambda task: task.pk, reverse=descending)
    return [task.pk for task in dated + undated]


@pytest.mark.parametrize("size", [4, 9])
@pytest.mark.parametrize("ordering", [sign + column for column in COLUMNS for sign in ("", "-")])
def test_paging_both_ways_returns_every_row_once_in_order(ada, tasks, ordering, size):
    there = walk(ada, f"{TASKS}?ordering={ordering}&page_size={size}", "next")
    last = f"{TASKS}?ordering={ordering}&page_size={size}&cursor={cursor_in(there[-2]['next'])}"
    back = walk(ada, last, "previous")

    expected = in_order(tasks, ordering)
    assert [id_ for page in there for id_ in ids(page)] == expected
    assert [ids(page) for page in reversed(back)] == [ids(page) for page in there]
    assert (there[0]["previous"], there[-1]["next"]) == (None, None)
    assert (back[0]["next"], back[-1]["previous"]) == (None, None)


@pytest.mark.parametrize("ordering", ["priority", "-priority"])
def test_equal_priorities_are_sorted_by_id(ada, tasks, ordering):
    pages = walk(ada, f"{TASKS}?ordering={ordering}&priority=high&page_size=4", "next")

    high = [task for task in tasks if task.priority == Task.Priority.HIGH]
    assert [id_ for page in pages for id_ in ids(page)] == in_order(high, ordering)


def test_the_newest_come_first_by_default(ada, tasks):
    page = ada.get(TASKS).json()

    assert ids(page) == in_order(tasks, "-created_at")[:20]


@pytest.mark.parametrize("size", [1, 44, 45, 46, 100])
def test_a_page_has_the_requested_size(ada, tasks, size):
    page = ada.get(f"{TASKS}?page_size={size}").json()

    assert len(page["results"]) == min(size, 45)
    assert (page["next"] is None) == (size >= 45)


@pytest.mark.parametrize("ordering", ["-created_at", "due_date", "-due_date", "-priority", "id"])
def test_changes_between_pages_neither_repeat_nor_hide_rows(ada, tasks, create_task, ordering):
    url, met, gone = f"{TASKS}?ordering={ordering}&page_size=6", [], set()
    while url is not None:
        page = ada.get(url).json()
        met += ids(page)
        for due_date, priority in [("2000-01-01", 1), ("2026-02-03", 2), ("2099-01-01", 4), (None, 3)]:
            create_task(due_date=due_date, priority=priority)
        gone.add(ids(page)[-1])  # the row that the next page continues after
        Task.objects.filter(pk__in=gone).delete()
        url = page["next"] if len(met) < 200 else None

    originals = in_order(tasks, ordering)
    assert len(met) == len(set(met))
    assert [id_ for id_ in met if id_ in originals] == originals


def test_filters_apply_to_every_page(ada, tasks):
    pages = walk(ada, f"{TASKS}?priority=urgent,low&page_size=3", "next")

    found = {task["id"] for page in pages for task in page["results"]}
    assert found == {task.pk for task in tasks if task.priority in (1, 4)}
