import pytest

from tests.conftest import TASKS, invalid_fields, task_url

pytestmark = pytest.mark.django_db


def test_it_works(ada, create_task):
    first, second = create_task(title="first"), create_task(title="second")

    answer = ada.get(TASKS)

    shown = [ada.get(task_url(task)).json() for task in (second, first)]
    assert (answer.status_code, answer.json()) == (200, {"next": None, "previous": None, "results": shown})


def test_an_empty_list_is_a_list(alice):
    assert alice.get(TASKS).json() == {"next": None, "previous": None, "results": []}


@pytest.mark.parametrize(
    "query",
    [
        *("ordering=due_date__year", "ordering=assigned_to__password", "assigned_to__role=1", "created_by__password=1"),
        *("statsu=1", "page=1", "overdue=true&overdue=true", "due_date=2026-01-01&due_date=2026-01-02", "search=%00"),
        *("assigned_to=%00", "%00=1", "=1", "page_size=0", "page_size=101", "cursor=x", "ordering=title"),
    ],
)
def test_an_invalid_parameter_is_400(ada, query):
    answer = ada.get(f"{TASKS}?{query}")

    assert invalid_fields(answer) == [query.partition("=")[0].replace("%00", "\0")]
    assert "ErrorDetail" not in answer.json()["detail"]
