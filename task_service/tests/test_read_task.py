from datetime import timedelta

import pytest
from django.utils import timezone

from tests.conftest import TASKS, results, task_url

pytestmark = pytest.mark.django_db


def test_it_works(alice, create_task):
    task = create_task(title="Water", description="All", priority=3, due_date="2096-02-29", assigned_to=alice.id)

    answer = alice.get(task_url(task))

    stamps = {"created_at": task.created_at, "updated_at": task.updated_at}
    assert answer.status_code == 200
    assert answer.json() == {
        "id": task.pk,
        "title": "Water",
        "description": "All",
        "status": "todo",
        "status_label": "To Do",
        "priority": "high",
        "due_date": "2096-02-29",
        "is_overdue": False,
        "assigned_to": alice.id,
        "assignee": {"id": alice.id, "username": "alice"},
        "created_by": 101,
        "completed_at": None,
        "version": 1,
        **{name: at.isoformat().replace("+00:00", "Z") for name, at in stamps.items()},
    }


@pytest.mark.parametrize(
    "path",
    [
        *("0/", "-1/", "01/", "+1/", "1e5", "1.0/", "null/", "٣/", "9223372036854775808/", "9" * 5000, "%00/", "%ff"),
        *("..%2f1", "1%0a", "1/%0a", "1%20/", "1%00/", "1;x/", "1//", "1/x/", "1.json"),
    ],
    ids=lambda path: ascii(path)[:24],
)
def test_any_other_path_is_404(ada, create_task, path):
    for id_ in (1, 3, 100_000):  # what a lenient parser would accept
        create_task(id=id_)

    answer = ada.get(f"{TASKS}{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_maximum_id_is_valid(ada, create_task):
    assert ada.get(task_url(create_task(id=2**63 - 1))).json()["id"] == 2**63 - 1


@pytest.mark.parametrize(
    ("days", "status", "overdue"),
    [(-1, "todo", True), (-1, "in_progress", True), (-1, "completed", False), (0, "todo", False), (1, "todo", False)],
)
def test_an_open_task_is_overdue_from_the_day_after_its_due_date(ada, create_task, days, status, overdue):
    due_date = timezone.localdate() + timedelta(days=days)

    task = create_task(due_date=due_date, status=status)

    assert ada.get(task_url(task)).json()["is_overdue"] is overdue


def test_today_is_in_the_configured_time_zone(ada, create_task, settings):
    settings.TIME_ZONE = "Etc/GMT+12"
    task = create_task(due_date=timezone.localdate())

    west = ada.get(task_url(task)).json()["is_overdue"]
    settings.TIME_ZONE = "Pacific/Kiritimati"  # 26 hours ahead, so always on a later day
    east = ada.get(task_url(task)).json()["is_overdue"]

    assert (west, east) == (False, True)
    assert len(results(ada.get(f"{TASKS}?overdue=true"))) == 1
