from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from tasks import summary
from tasks.filters import TaskFilter
from tasks.models import Task
from tests.conftest import TASKS

pytestmark = pytest.mark.django_db

SUMMARY = f"{TASKS}summary/"


def get_summary(person, query=""):
    answer = person.get(f"{SUMMARY}?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def in_days(number):
    return timezone.localdate() + timedelta(days=number)


@pytest.fixture
def tasks(create_task, ada, alice, bob):
    create_task(title="late", due_date=in_days(-1), assigned_to=alice.id, priority=4)
    create_task(title="late and begun", due_date=in_days(-1), assigned_to=bob.id, status="in_progress")
    create_task(title="late but done", due_date=in_days(-1), assigned_to=alice.id, status="completed")
    create_task(title="due today", due_date=in_days(0), assigned_to=alice.id)
    create_task(title="done today", due_date=in_days(0), status="completed")
    create_task(title="due tomorrow", due_date=in_days(1), status="in_progress", priority=1)
    create_task(title="due in a week", due_date=in_days(7), assigned_to=ada.id)
    create_task(title="due in eight days", due_date=in_days(8), assigned_to=alice.id, status="in_progress")
    create_task(title="without a date")


def test_it_works(ada, tasks):
    assert get_summary(ada) == {
        "total": 9,
        "by_status": {"todo": 4, "in_progress": 3, "completed": 2},
        "overdue": 2,
        "due_soon": 2,
        "unassigned": 3,
    }


def test_users_count_only_visible_tasks(alice, bob, tasks):
    by_status = {"todo": 2, "in_progress": 1, "completed": 1}

    assert get_summary(alice) == {"total": 4, "by_status": by_status, "overdue": 1, "due_soon": 1, "unassigned": 0}
    assert get_summary(bob, "assigned_to=102")["total"] == get_summary(bob, "assigned_to=none")["total"] == 0


def test_an_empty_summary_has_zeros(alice):
    by_status = {"todo": 0, "in_progress": 0, "completed": 0}

    assert get_summary(alice) == {"total": 0, "by_status": by_status, "overdue": 0, "due_soon": 0, "unassigned": 0}


def test_it_counts_the_tasks_of_the_list_with_every_filter(ada, alice, tasks):
    today, tomorrow = in_days(0), in_days(1)
    queries = [
        *("status=todo", "status=todo,completed", "status=todo&status=In%20Progress", "priority=low,urgent"),
        *(f"due_date={today}", f"due_date_after={today}", f"due_date_before={today}", f"due_date={in_days(99)}"),
        *("overdue=true", "overdue=false", "assigned_to=102", "assigned_to=me", "assigned_to=none", "due_soon=true"),
        *("due_soon=False", "due_date=none", "assigned_to=alice,none", "created_by=me", "created_by=alice,nobody"),
        *(f"completed_after={today}", f"completed_before={today}", f"completed_after={tomorrow}&created_by=ada"),
        *("search=late", "search=due -tomorrow", "search=nowhere", "status=completed&overdue=true"),
        f"status=todo,in_progress&due_date_after={today}&due_date_before={tomorrow}&priority=normal&search=due",
    ]
    assert {each.partition("=")[0] for query in queries for each in query.split("&")} == set(TaskFilter.base_filters)

    for person, query in [*((ada, query) for query in queries), *((alice, query) for query in queries[::4])]:
        listed = person.get(f"{TASKS}?page_size=100&{query}").json()["results"]
        open_ones = [task for task in listed if task["status"] != "completed"]
        statuses = Counter(task["status"] for task in listed)

        assert get_summary(person, query) == {
            "total": len(listed),
            "by_status": {status: statuses[status] for status in Task.Status.values},
            "overdue": sum(task["is_overdue"] for task in listed),
            "due_soon": sum(task["due_date"] in (str(today), str(tomorrow)) for task in open_ones),
            "unassigned": sum(task["assigned_to"] is None for task in listed),
        }, query


def test_today_is_in_the_configured_time_zone(ada, create_task, settings):
    settings.DUE_SOON_DAYS, settings.TIME_ZONE = 0, "Etc/GMT+12"
    create_task(due_date=timezone.localdate())

    west = get_summary(ada)
    settings.TIME_ZONE = "Pacific/Kiritimati"  # 26 hours ahead, so always on a later day
    east = get_summary(ada)

    assert [(each["overdue"], each["due_soon"]) for each in (west, east)] == [(0, 1), (1, 0)]


def test_counts_stop_at_the_limit(ada, tasks, monkeypatch):
    exact = get_summary(ada)
    assert (summary.MAX_COUNT, summary.MORE) == (10_000, "10000+")

    monkeypatch.setattr(summary, "MAX_COUNT", 3)
    monkeypatch.setattr(summary, "MORE", "3+")

    assert get_summary(ada) == exact | {"total": "3+", "by_status": {"todo": "3+", "in_progress": 3, "completed": 2}}
    assert get_summary(ada, "status=in_progress")["total"] == 3
