from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from directory.models import User
from tasks import pages
from tasks.models import Task
from tests.conftest import TASKS, invalid_fields, results, task_url, titles

pytestmark = pytest.mark.django_db


def found(person, query):
    return set(titles(person.get(f"{TASKS}?{query}")))


@pytest.fixture
def tasks(create_task, ada, alice):
    create_task(title="low", priority=1, status="todo", due_date="2096-01-01", assigned_to=alice.id)
    create_task(title="normal", priority=2, status="in_progress", due_date="2096-01-02", assigned_to=ada.id)
    create_task(title="high", priority=3, status="completed", due_date="2096-01-03", assigned_to=alice.id)
    create_task(title="urgent", priority=4, status="todo")


FOUND = {
    "low": ["assigned_to=ALICE&status=todo"],
    "normal": [
        *("status=IN+PROGRESS", "due_date=2096-01-02", "due_date_after=2096-01-02&due_date_before=2096-01-02"),
        *("assigned_to=me", "status=todo,in_progress&priority=normal,high"),
    ],
    "high": ["status=completed&due_date_after=2096-01-01&assigned_to=102&priority=high&overdue=false"],
    "urgent": ["priority=urgent", "assigned_to=none", "created_by=me&assigned_to=none", "due_date=none"],
    "low urgent": ["status=todo", "status=To%20Do"],
    "low normal": ["due_date_before=2096-01-02"],
    "low high": [
        *("priority=low,HIGH", "priority=low&priority=high", "assigned_to=102", "assigned_to=alice"),
        "assigned_to=alice,unknown-name",
    ],
    "normal high": ["due_date_after=2096-01-02"],
    "normal urgent": ["assigned_to=me&assigned_to=none"],
    "low normal high": ["assigned_to=101,102"],
    "low high urgent": ["status=todo,completed", "status=todo&status=completed"],
    "low normal high urgent": [
        *("status=to%20do,+Completed&status=in_progress", "assigned_to=102,+me,None", "created_by=101"),
        "created_by=Ada",
    ],
    "": [
        *("due_date_after=2096-01-03&due_date_before=2096-01-01", "assigned_to=9223372036854775807"),
        *("assigned_to=unknown-name", "created_by=alice,103"),
    ],
}


@pytest.mark.parametrize(
    ("query", "expected"), [(query, expected) for expected, queries in FOUND.items() for query in queries]
)
def test_it_works(ada, tasks, query, expected):
    assert found(ada, query) == set(expected.split())


def test_a_user_filters_only_visible_tasks(alice, bob, tasks):
    assert found(alice, "status=todo") == {"low"}
    assert found(alice, "assigned_to=me") == found(alice, f"assigned_to={alice.id}") == {"low", "high"}
    assert found(alice, "assigned_to=none") == found(alice, "assigned_to=bob,ada,unknown-name") == set()
    assert found(alice, "created_by=ada&assigned_to=bob,alice") == {"low", "high"}


def test_overdue_splits_the_list(ada, create_task):
    today = timezone.localdate()
    yesterday = today - timedelta(days=1)
    create_task(title="late", due_date=yesterday)
    create_task(title="late but begun", due_date=yesterday, status="in_progress")
    create_task(title="done", due_date=yesterday, status="completed")
    create_task(title="due today", due_date=today)
    create_task(title="without a date")

    assert found(ada, "overdue=true") == {"late", "late but begun"}
    assert found(ada, "overdue=false") == {"done", "due today", "without a date"}
    assert found(ada, "overdue=True") == found(ada, "overdue=TRUE") == found(ada, "overdue=true")
    assert {task["is_overdue"] for task in results(ada.get(f"{TASKS}?overdue=true"))} == {True}
    assert {task["is_overdue"] for task in results(ada.get(f"{TASKS}?overdue=false"))} == {False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("status", value) for value in ("bogus", "", "todo,", "todo,bogus", "todo;completed")),
        *(("priority", value) for value in ("3", "bogus")),
        *(("overdue", value) for value in ("", "yes", "1")),
        *(("assigned_to", value) for value in ("", "0", "-1", "01", "٣", "9223372036854775808", "9" * 5000)),
        *(("assigned_to", value) for value in ("alice,", "alice@tm.example", "x" * 65, ",".join(["1"] * 101))),
        *(("created_by", ""), ("created_by", "-1"), ("due_date", "None"), ("due_date_after", "none")),
        *(("due_soon", "soon"), ("completed_after", "none"), ("completed_before", "2026-02-30")),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_an_invalid_value_is_400(ada, tasks, name, value):
    assert invalid_fields(ada.get(TASKS, {name: value})) == [name]


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("status", "100%s", "'100%s' is not one of: "),
        ("due_date", "%(x)d", "Must be a date in the format YYYY-MM-DD."),
        ("search", "%d" * 101, "Ensure this value has at most 200 characters (it has 202)."),
    ],
)
def test_a_percent_sign_in_an_invalid_value_is_kept(ada, name, value, detail):
    answer = ada.get(TASKS, {name: value})

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (400, "max_length" if name == "search" else "invalid")
    assert error["detail"].startswith(detail)


@pytest.mark.parametrize("name", ["due_date", "due_date_after", "due_date_before"])
def test_an_invalid_date_is_400(ada, name, invalid_date):
    assert invalid_fields(ada.get(TASKS, {name: invalid_date})) == [name]


def test_due_soon_splits_the_list(ada, create_task, settings):
    settings.DUE_SOON_DAYS = 2
    today = timezone.localdate()
    for title, days in [("yesterday", -1), ("today", 0), ("in two days", 2), ("in three days", 3)]:
        create_task(title=title, due_date=today + timedelta(days=days))
    create_task(title="done", due_date=today, status="completed")
    create_task(title="without a date")

    assert found(ada, "due_soon=true") == {"today", "in two days"}
    assert found(ada, "due_soon=false") == {"yesterday", "in three days", "done", "without a date"}
    assert ada.get(f"{TASKS}summary/").json()["due_soon"] == 2


@pytest.mark.parametrize(("zone", "first_hour_utc"), [("UTC", 0), ("America/Anchorage", 8), ("Asia/Tokyo", -9)])
def test_completion_dates_are_in_time_zone(ada, create_task, settings, zone, first_hour_utc):
    settings.TIME_ZONE = zone
    begin = datetime(2026, 7, 1, tzinfo=UTC) + timedelta(hours=first_hour_utc)
    second, day = timedelta(seconds=1), timedelta(days=1)
    instants = {"before": begin - second, "first": begin, "last": begin + day - second, "after": begin + day}
    for title, at in instants.items():
        Task.objects.filter(pk=create_task(title=title, status="completed").pk).update(completed_at=at)
    create_task(title="open")

    assert found(ada, "completed_after=2026-07-01") == {"first", "last", "after"}
    assert found(ada, "completed_before=2026-07-01") == {"before", "first", "last"}
    assert found(ada, "completed_after=2026-07-01&completed_before=2026-07-01") == {"first", "last"}
    assert found(ada, "completed_before=2100-12-31") == {"before", "first", "last", "after"}


def test_a_username_selects_the_undeleted_account(ada, alice, bob, tasks):
    User.objects.filter(pk=alice.id).update(username="bob", is_deleted=True, is_active=False)
    Task.objects.filter(title="urgent").update(assigned_to=bob.id)

    assert found(ada, "assigned_to=bob") == {"urgent"}


def test_filters_find_tasks_written_just_before(ada, tasks):
    ada.patch(task_url(Task.objects.get(title="urgent")), {"status": "completed"})

    assert found(ada, "status=completed") == {"high", "urgent"}


@pytest.mark.parametrize("me", ["me", "%6d%65", "me&assigned_to=none", "none&assigned_to=me"])
def test_the_same_request_of_another_admin_is_about_that_admin(ada, grace, create_task, me):
    for person in (ada, grace):
        create_task(title=person.username, assigned_to=person.id)

    for person in (ada, grace, ada):
        assert found(person, f"assigned_to={me}") == {person.username}


def test_the_same_request_finds_new_tasks_and_other_users_their_own(ada, alice, bob, create_task):
    for title, owner in [("first", alice), ("second", alice), ("third", bob)]:
        create_task(title=title, assigned_to=owner.id)
        seen = [found(person, "status=todo&page_size=100") for person in (ada, alice, bob)]
    assert seen == [{"first", "second", "third"}, {"first", "second"}, {"third"}]


@pytest.mark.parametrize("query", ["overdue=true", "overdue=false", "due_soon=true", "due_soon=false"])
def test_the_same_request_on_another_day_uses_that_day(ada, create_task, settings, query):
    settings.DUE_SOON_DAYS = 0
    settings.TIME_ZONE = "Etc/GMT+12"
    create_task(title="due", due_date=timezone.localdate())
    west = found(ada, query)

    settings.TIME_ZONE = "Pacific/Kiritimati"  # 26 hours ahead, so always on a later day
    assert found(ada, query) != west


def test_the_number_of_compiled_filters_is_limited(ada, create_task, monkeypatch):
    monkeypatch.setattr(pages, "MAX_FILTERED_PAGES", 3)
    create_task(title="one")
    for number in range(9):
        assert found(ada, f"due_date_before=209{number}-01-01") == set()
        assert found(ada, f"created_by=101,{number + 1}") == {"one"}
        assert len(pages.filtered_pages) <= 3
