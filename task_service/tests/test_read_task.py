from datetime import timedelta

import pytest
from django.utils import timezone

pytestmark = pytest.mark.django_db


def test_it_works(alice, create_task):
    task = create_task(title="Water", description="All", priority=3, due_date="2096-02-29", assigned_to=alice.id)

    answer = alice.get(f"/task/tasks/{task.pk}/")

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
    "spelling",
    [
        "0",
        "-1",
        "01",
        "+1",
        "1e5",
        "0x1",
        "1.0",
        "null",
        "٣",
        "²",
        "9223372036854775808",
        "99999999999999999999",
        "9" * 5000,
        "%00",
        "%ff",
        "%ed%a0%80",
        "..%2f",
        "%252e",
    ],
    ids=lambda spelling: ascii(spelling)[:24],
)
@pytest.mark.parametrize("end", ["", "/"])
def test_an_invalid_id_is_404(ada, create_task, spelling, end):
    for id_ in (1, 3, 100_000):  # what a lenient parser would accept
        create_task(id=id_)

    answer = ada.get(f"/task/tasks/{spelling}{end}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("more", ["%0a", "%0a/", "/%0a", "%0d%0a/", "%20/", "%00/", ";x/", "//", "/x/", ".json"])
def test_a_task_has_one_url(ada, create_task, more):
    answer = ada.get(f"/task/tasks/{create_task().pk}{more}")

    assert answer.status_code == 404


def test_the_maximum_id_is_valid(ada, create_task):
    task = create_task(id=2**63 - 1)

    assert ada.get(f"/task/tasks/{2**63 - 1}/").json()["id"] == task.pk


def test_query_parameters_are_400(ada, create_task):
    answer = ada.get(f"/task/tasks/{create_task().pk}/?ordering=id")

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["ordering"]


def test_one_statement_reads_a_task(ada, create_task, django_assert_max_num_queries):
    task = create_task()

    with django_assert_max_num_queries(3):
        ada.get(f"/task/tasks/{task.pk}/")


def test_head_is_get_without_the_body(ada, create_task):
    answer = ada.head(f"/task/tasks/{create_task().pk}/")

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("days", "status", "overdue"),
    [(-1, "todo", True), (-1, "in_progress", True), (-1, "completed", False), (0, "todo", False), (1, "todo", False)],
)
def test_an_open_task_is_overdue_from_the_day_after_its_due_date(ada, create_task, days, status, overdue):
    due_date = timezone.localdate() + timedelta(days=days)

    task = create_task(due_date=due_date, status=status)

    assert ada.get(f"/task/tasks/{task.pk}/").json()["is_overdue"] is overdue


def test_today_is_in_the_configured_time_zone(ada, create_task, settings):
    settings.TIME_ZONE = "Etc/GMT+12"
    task = create_task(due_date=timezone.localdate())

    west = ada.get(f"/task/tasks/{task.pk}/").json()["is_overdue"]
    settings.TIME_ZONE = "Pacific/Kiritimati"  # 26 hours ahead, so always on a later day
    east = ada.get(f"/task/tasks/{task.pk}/").json()["is_overdue"]

    assert (west, east) == (False, True)
    assert len(ada.get("/task/tasks/?overdue=true").json()["results"]) == 1
