"""The statements that write rows from JSON store the same as the ORM, and what a request read is what it changes."""

from datetime import date

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from chassis.auth.tokens import Caller
from chassis.json_rows import as_json, new_columns, values
from notifications.models import Delivery, Event, Notification
from tasks import views
from tasks.models import Activity, Task
from tasks.models.task import set_search_documents
from tasks.reading import find_with_accounts
from tests.conftest import task_url

pytestmark = pytest.mark.django_db

CONTROLS = "".join(map(chr, range(1, 32)))
TEXT = some.text(some.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
VALUES = some.fixed_dictionaries(
    {
        "title": TEXT,
        "description": TEXT,
        "status": some.sampled_from(Task.Status.values),
        "priority": some.sampled_from(Task.Priority.values),
        "due_date": some.none() | some.dates(date(2000, 1, 1), date(2100, 12, 31)),
        "assigned_to_id": some.sampled_from([None, 102]),
    }
)
SPECIAL = {"title": f"\"\\/'{CONTROLS}\x7f\u2028\ufeff\U0001f600 %s", "assigned_to_id": None}
SETTINGS = settings(
    deadline=None, database=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def row(task_id):
    """Return all columns that the two ways to write must agree on."""
    columns = {field.attname for field in Task._meta.concrete_fields} - {"id", "created_at", "updated_at"}
    (found,) = Task.objects.filter(pk=task_id).values(*columns)
    return {**found, "completed_at": found["completed_at"] is not None}


def admin(person):
    return Caller(id=person.id, username="ada", role="admin", epoch=0)


@SETTINGS
@given(values=VALUES)
@example(values=SPECIAL)
def test_a_created_task_is_stored_as_the_orm_stores_it(ada, alice, values):
    created = Task.objects.create_task(by=admin(ada), **values)

    assert row(created.pk) == row(Task.objects.create(created_by=ada.id, **values).pk)


@SETTINGS
@given(values=VALUES, names=some.sets(some.sampled_from(["title", "description", "status", "priority", "due_date"])))
@example(values=SPECIAL, names={"title"})
def test_a_changed_task_is_stored_as_the_orm_stores_it(ada, alice, create_task, values, names):
    task, other = (find_with_accounts(create_task().pk, admin(ada)) for _ in range(2))
    chosen = {name: values[name] for name in sorted(names) if name in values}

    assert task.change(by_id=ada.id, **chosen)

    if task.version == 2:
        other.apply(chosen, timezone.now())
        set_search_documents([other])
        other.save()
    assert row(task.pk) == row(other.pk)


@pytest.mark.parametrize("model", [Activity, Event, Notification, Delivery, Task])
def test_every_column_of_a_new_row_is_written(model):
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, model._meta.db_table)

    set_by_postgresql = {"id", "transaction_id"}
    assert set(new_columns(model).split(", ")) == {column.name for column in columns} - set_by_postgresql


def test_values_of_a_row_survive_json(ada):
    event = Event(kind="task_due_soon", task_id=2**63 - 1, text="t", due_date=date(2030, 1, 1), old={"a": [None, 1]})

    sql = "SELECT * FROM jsonb_populate_recordset(NULL::notifications_event, %s)"
    (stored,) = Event.objects.raw(sql, [as_json([values(event)])])

    assert values(stored) == values(event)


@pytest.mark.parametrize("assignee", [None, 102])
def test_the_task_of_a_change_is_read_as_the_orm_reads_it(ada, alice, create_task, assignee):
    task = create_task(assigned_to=assignee)

    read = find_with_accounts(task.pk, admin(ada))

    expected = Task.objects.with_accounts(ada.id).get(pk=task.pk)
    assert {**read.__dict__, "_state": None} == {**expected.__dict__, "_state": None}


@pytest.fixture
def meanwhile(monkeypatch):
    """Return a function that runs another change after the next request has read its task."""

    def register(change):
        def read(*arguments):
            found = find_with_accounts(*arguments)
            monkeypatch.setattr(views, "find_with_accounts", find_with_accounts)
            change()
            return found

        monkeypatch.setattr(views, "find_with_accounts", read)

    return register


def test_a_change_of_another_field_after_the_read_is_kept(ada, create_task, meanwhile):
    task = create_task()
    meanwhile(lambda: Task.objects.filter(pk=task.pk).change(by_id=ada.id, title="Weed"))

    answer = ada.patch(task_url(task), {"status": "completed"}).json()

    assert (answer["title"], answer["status"], answer["version"]) == ("Weed", "completed", 3)
    assert list(Activity.objects.filter(task=task).values_list("field", "version")) == [("title", 2), ("status", 3)]
    assert Event.objects.filter(task_id=task.pk).count() == 1


def test_a_change_after_the_read_is_found_by_if_match(ada, create_task, meanwhile):
    task = create_task()
    tag = ada.get(task_url(task)).headers["ETag"]
    meanwhile(lambda: Task.objects.filter(pk=task.pk).change(by_id=ada.id, title="Weed"))

    answer = ada.patch(task_url(task), {"status": "completed"}, HTTP_IF_MATCH=tag)

    assert (answer.status_code, answer.json()["changed_fields"]) == (412, ["title"])
    assert not Event.objects.filter(task_id=task.pk).exists()


def test_a_deletion_after_the_read_is_found(ada, create_task, meanwhile):
    task = create_task()
    meanwhile(lambda: ada.delete(task_url(task)))

    answer = ada.patch(task_url(task), {"status": "completed"})

    assert answer.status_code == 404
    assert not Activity.objects.filter(task=task.pk, kind="changed").exists()
