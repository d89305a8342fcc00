"""Bulk deletion."""

import json
import logging

import pytest

from notifications.models import Event
from tasks.models import Activity, Task
from tests.conftest import TASKS, invalid_fields
from tests.test_statements import MAX_WRITE_STATEMENTS, statements

pytestmark = pytest.mark.django_db

BULK = f"{TASKS}bulk/"


def delete(person, ids, **more):
    return person.post(BULK, {"ids": ids, "delete": True, **more})


@pytest.fixture
def ids(create_task, alice):
    return [create_task(title=title, assigned_to=alice.id).pk for title in ("one", "two", "three")]


@pytest.mark.django_db(transaction=True)
def test_it_works(ada, alice, ids, caplog):
    caplog.set_level(logging.INFO, "security")

    answer = delete(ada, [ids[2], ids[0]])

    assert (answer.status_code, answer.json()) == (200, {"deleted_ids": [ids[2], ids[0]]})
    assert [ada.get(f"{TASKS}{id_}/").status_code for id_ in ids] == [404, 200, 404]
    for id_, title in ((ids[0], "one"), (ids[2], "three")):
        (row,) = ada.get(f"{TASKS}{id_}/activity/").json()["results"]
        assert (row["kind"], row["from"]["title"], row["by"]["username"]) == ("deleted", title, "ada")
    logged = [record for record in caplog.records if record.getMessage() == "sensitive_delete"]
    assert [(record.actor, record.subject) for record in logged] == [(ada.id, ids[0]), (ada.id, ids[2])]


@pytest.mark.django_db(transaction=True)
def test_a_missing_task_prevents_all_deletions(ada, ids, caplog):
    caplog.set_level(logging.INFO, "security")

    answer = delete(ada, [ids[0], 2**40])

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_task")
    assert (Task.objects.count(), Activity.objects.count()) == (3, 0)
    assert "sensitive_delete" not in caplog.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *(({"ids": [1], "delete": value}, "delete") for value in (False, "true", 1, None)),
        ({"ids": [1], "delete": True, "set": {"title": "x"}}, "delete"),
        *(({"ids": value, "delete": True}, "ids") for value in ([], [1, 1], list(range(1, 102)))),
        ({"delete": True}, "ids"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_an_invalid_body_is_400(ada, create_task, body, field):
    create_task(id=1)

    assert (invalid_fields(ada.post(BULK, body)), Task.objects.count()) == ([field], 1)


def test_a_hundred_tasks_take_as_many_statements_as_one(ada, create_task):
    ids = [create_task(title=f"Task {number}").pk for number in range(101)]

    _, for_one = statements(delete, ada, ids[:1])
    answer, for_many = statements(delete, ada, ids[1:])

    assert answer.json()["deleted_ids"] == ids[1:]
    assert for_one == for_many <= MAX_WRITE_STATEMENTS
    assert not Task.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_overlapping_deletions_one_fails(ada, grace, ids, at_once):
    answers = at_once((delete, ada, ids[:2]), (delete, grace, ids[:0:-1]))

    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert Task.objects.count() == 1
    assert Activity.objects.count() == 2
    assert Event.objects.filter(kind="task_deleted").count() == 2
