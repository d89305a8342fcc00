import pytest
from django.db import IntegrityError, connection, transaction

from directory.models import User
from directory.person import Person
from tasks.models import Activity, Task
from tests.conftest import FULL, TASKS, history, task_url

pytestmark = pytest.mark.django_db

REFUSE_HISTORY = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE out_of_memory; END';
    CREATE TRIGGER refuse BEFORE INSERT ON tasks_activity FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def page(person, task, query=""):
    return person.get(task_url(task, f"activity/?{query}")).json()


def changes(rows):
    return {row["field"]: (row["kind"], row["from"], row["to"]) for row in rows}


@pytest.fixture
def task(ada, alice, user_service):
    """Created through the API, so that it has a history."""
    made = ada.post(TASKS, {"title": "Water the plants", "assigned_to": alice.id}).json()
    return Task.objects.get(pk=made["id"])


@pytest.fixture
def another(ada):
    return Task.objects.get(pk=ada.post(TASKS, {"title": "Mow the lawn"}).json()["id"])


def test_it_works(ada, alice, task):
    changed = ada.patch(task_url(task), {"title": "Feed the cat"}).json()

    rows = history(alice, task)
    common = {"reason": None, "by": {"id": ada.id, "username": "ada"}}
    renamed = {"version": 2, "kind": "changed", "field": "title", "from": "Water the plants", "to": "Feed the cat"}
    assigned = {"version": 1, "kind": "assigned", "field": "assigned_to", "from": None, "to": alice.id}
    created = {"version": 1, "kind": "created", "field": None, "from": None, "to": None}
    assert [{name: value for name, value in row.items() if name not in ("id", "at")} for row in rows] == [
        renamed | common,
        assigned | common,
        created | common,
    ]
    assert [row["at"] for row in rows] == [changed["updated_at"], changed["created_at"], changed["created_at"]]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert history(ada, task) == rows


@pytest.mark.parametrize("method", ["put", "patch"])
def test_each_changed_field_is_an_entry_with_json_values(ada, alice, bob, task, method):
    answer = getattr(ada, method)(task_url(task), FULL | {"assigned_to": bob.id})

    rows = history(ada, task)[:-2]
    assert changes(rows) == {
        "title": ("changed", "Water the plants", "Feed the cat"),
        "description": ("changed", "", "Twice"),
        "status": ("changed", "todo", "in_progress"),
        "priority": ("changed", "normal", "high"),
        "due_date": ("changed", None, "2096-02-29"),
        "assigned_to": ("assigned", alice.id, bob.id),
    }
    assert len(rows) == 6
    assert {row["version"] for row in rows} == {answer.json()["version"]} == {2}
    assert {row["at"] for row in rows} == {answer.json()["updated_at"]}


def test_clearing_a_value_is_a_change(ada, task):
    ada.patch(task_url(task), FULL)

    ada.patch(task_url(task), {"due_date": None, "description": "", "status": "completed"})

    assert changes(history(ada, task)[:3]) == {
        "due_date": ("changed", "2096-02-29", None),
        "description": ("changed", "Twice", ""),
        "status": ("changed", "in_progress", "completed"),
    }


def test_assignments_show_the_old_and_new_assignee(ada, alice, bob, task):
    for who in (bob.id, None, alice.id):
        ada.patch(task_url(task), {"assigned_to": who})

    assert [(row["kind"], row["from"], row["to"], row["version"]) for row in history(ada, task)[:-1]] == [
        ("assigned", None, alice.id, 4),
        ("unassigned", bob.id, None, 3),
        ("assigned", alice.id, bob.id, 2),
        ("assigned", None, alice.id, 1),
    ]


def test_entries_show_current_usernames(ada, task):
    User.objects.filter(pk=ada.id).update(username="Ada Lovelace")
    Activity.objects.create(task=task, version=2, kind="created", by_id=999, at=task.created_at)

    unknown, *known = (row["by"] for row in history(ada, task))

    assert (unknown, {by["username"] for by in known}) == (None, {"Ada Lovelace"})


def test_deletion_unassigns_tasks_and_keeps_the_name_in_history(ada, alice, task, settings):
    settings.ASSIGNEES_CAN_UPDATE_STATUS = True
    alice.patch(task_url(task), {"status": "completed"})

    User.objects.upsert([Person.deleted(alice.id, 2000)])

    unassigned, moved, *_ = history(ada, task)
    assert (unassigned["by"], unassigned["reason"]) == (None, "account deleted")
    assert changes([unassigned]) == {"assigned_to": ("unassigned", alice.id, None)}
    assert unassigned["version"] == ada.get(task_url(task)).json()["version"] == 3
    assert (moved["by"], moved["reason"]) == ({"id": alice.id, "username": "alice"}, None)


# Pages and visibility


def test_pages_cover_the_whole_history_both_ways(ada, task, another):
    for number in range(3):
        ada.patch(task_url(task), {"title": f"Number {number}"})
        ada.patch(task_url(another), {"title": f"Number {number}"})
    everything = [row["id"] for row in history(ada, task)]

    first = page(ada, task, "page_size=2")
    ada.patch(task_url(task), {"title": "Meanwhile"})
    second = ada.get(first["next"]).json()
    third = ada.get(second["next"]).json()
    back = ada.get(second["previous"]).json()

    met = [row["id"] for each in (first, second, third) for row in each["results"]]
    assert (met, third["next"]) == (everything, None)
    assert back["results"] == first["results"]
    oldest_first = [row["id"] for row in page(ada, task, "ordering=id")["results"]]
    assert oldest_first[:-1] == everything[::-1]
    assert oldest_first[-1] > everything[0]


def test_a_cursor_of_another_task_reveals_nothing(ada, alice, task, another):
    for number in range(2):
        ada.patch(task_url(another), {"title": f"Number {number}"})
    foreign = page(ada, another, "page_size=1")["next"]

    assert alice.get(foreign).status_code == 404
    moved = alice.get(foreign.replace(f"/{another.pk}/", f"/{task.pk}/")).json()["results"]
    assert moved == history(alice, task)[:1]


# The history is append-only


@pytest.mark.parametrize("change", ["by_id = NULL", "at = now()", "new = '\"x\"'", "task_id = task_id", "id = -id"])
def test_sql_cannot_update_the_history(ada, task, change):
    before = history(ada, task)

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE tasks_activity SET {change}")

    assert history(ada, task) == before


@pytest.mark.parametrize("condition", ["", "WHERE kind = 'created'"])
def test_sql_cannot_delete_the_history(ada, task, condition):
    before = history(ada, task)

    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM tasks_activity {condition}")

    assert (cursor.rowcount, history(ada, task)) == (0, before)


def test_a_change_without_history_is_rolled_back(ada, task):
    with connection.cursor() as cursor:
        cursor.execute(REFUSE_HISTORY)

    answers = [
        ada.patch(task_url(task), {"title": "Changed"}),
        ada.post(TASKS, {"title": "Made"}),
        ada.post(f"{TASKS}bulk/", {"ids": [task.pk], "set": {"title": "Changed"}}),
    ]

    assert [answer.status_code for answer in answers] == [503] * 3
    assert list(Task.objects.values_list("title", "version")) == [("Water the plants", 1)]
