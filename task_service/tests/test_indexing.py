"""Search documents: written with the text, or by the worker if the previous version wrote the text."""

from threading import Event

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tasks import indexing
from tasks.models import Task
from tasks.search import document, parse
from tests.conftest import TASKS, titles
from tests.test_search_words import PAIRS

pytestmark = pytest.mark.django_db

LOCALES = ["builtin 'C'", "builtin 'C.UTF-8'", "builtin 'PG_UNICODE_FAST'", "libc 'C'"]


def found(person, text):
    return titles(person.get(TASKS, {"search": text}))


def execute(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else None


def write_as_the_version_before(**values):
    execute(
        "INSERT INTO tasks_task (title, description, status, priority, created_by, created_at, updated_at, version) "
        "VALUES (%s, %s, 'todo', 2, 101, now(), now(), 1)",
        *(values.get(name, "") for name in ("title", "description")),
    )


def test_every_write_through_the_api_indexes_at_once(ada):
    task = ada.post(TASKS, {"title": "Plant", "description": "roses"}).json()
    other = ada.post(TASKS, {"title": "Fell", "description": "oaks"}).json()
    ada.patch(f"{TASKS}{task['id']}/", {"title": "Water"})
    assert (found(ada, "wat ros"), found(ada, "plant")) == (["Water"], [])

    ada.post(f"{TASKS}bulk/", {"ids": [task["id"], other["id"]], "set": {"title": "Draw"}})
    assert (found(ada, "draw ros"), found(ada, "draw oak"), found(ada, "fell")) == (["Draw"], ["Draw"], [])

    ada.put(f"{TASKS}{task['id']}/", {"title": "Sketch"})
    ada.patch(f"{TASKS}{other['id']}/", {"status": "completed"})
    assert (found(ada, "ske"), found(ada, "ros"), found(ada, "oak")) == (["Sketch"], [], ["Draw"])
    assert not Task.objects.not_indexed().exists()


def test_tasks_of_the_previous_version_are_found_and_indexed(ada):
    task = ada.post(TASKS, {"title": "Plant"}).json()
    write_as_the_version_before(title="Water/plants", description="weekly")
    execute("UPDATE tasks_task SET title = 'Fell oaks', version = 2 WHERE id = %s", task["id"])

    assert (found(ada, "weekly"), found(ada, "oaks"), found(ada, "plant")) == (["Water/plants"], ["Fell oaks"], [])
    assert (found(ada, "plants"), found(ada, "oak")) == ([], [])

    indexing.index_missing()

    assert found(ada, "plants") == found(ada, "week") == ["Water/plants"]
    assert found(ada, "oak") == ["Fell oaks"]


def test_users_find_only_their_own_unindexed_tasks(ada, alice):
    write_as_the_version_before(title="Secret")

    assert (found(ada, "secret"), found(alice, "secret")) == (["Secret"], [])


def test_a_change_with_the_same_words_is_indexed_again(ada):
    task = ada.post(TASKS, {"title": "Plant"}).json()
    ada.patch(f"{TASKS}{task['id']}/", {"title": "PLANT!"})
    assert found(ada, "plant") == ["PLANT!"]

    indexing.index_missing()

    assert (found(ada, "plan"), Task.objects.not_indexed().count()) == (["PLANT!"], 0)


def test_a_change_of_long_texts_is_left_to_the_worker(ada, monkeypatch):
    ids = [ada.post(TASKS, {"title": f"Plant {n}", "description": "x" * 50}).json()["id"] for n in range(2)]
    monkeypatch.setattr("tasks.models.task.MAX_INDEXED_AT_ONCE", 99)

    ada.post(f"{TASKS}bulk/", {"ids": ids, "set": {"title": "Water"}})
    assert (found(ada, "water"), found(ada, "plant"), found(ada, "wat")) == (["Water"] * 2, [], [])

    indexing.index_missing()
    assert found(ada, "wat") == ["Water"] * 2


def test_tasks_with_old_rules_are_indexed_again(ada):
    ada.post(TASKS, {"title": "Plant"})
    execute("UPDATE tasks_task SET search_rules = 0, search_document = '''Tstalk''' WHERE title = 'Plant'")

    assert indexing.index_missing()

    assert (found(ada, "plan"), found(ada, "stalk")) == (["Plant"], [])
    assert not indexing.index_missing()


def test_indexing_continues_after_a_kill(ada, monkeypatch, caplog):
    monkeypatch.setattr(indexing, "BATCH_SIZE", 2)
    monkeypatch.setattr(indexing, "BATCHES_PER_TURN", 2)
    for n in range(7):
        write_as_the_version_before(title=f"Plant/{n}")

    monkeypatch.setattr(indexing, "document", kill_after(3))
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        indexing.index_missing()
    monkeypatch.setattr(indexing, "document", document)
    with caplog.at_level("INFO", "tasks.indexing"):
        turns = [indexing.index_missing() for _ in range(4)]

    assert turns == [True, True, False, False]
    assert [record.getMessage() for record in caplog.records] == [
        "indexed 4 tasks for search, 3 are left",
        "indexed 3 tasks for search, 0 are left",
    ]
    assert len(found(ada, "pla")) == 7


def kill_after(number):
    def make(title, description):
        nonlocal number
        number -= 1
        if number < 0:
            raise KeyboardInterrupt
        return document(title, description)

    return make


def test_the_command_can_index_everything_again(ada, capsys):
    ada.post(TASKS, {"title": "Plant"})
    write_as_the_version_before(title="Water")
    execute("UPDATE tasks_task SET search_document = '''Tstalk''' WHERE title = 'Plant'")

    call_command("index_search")
    assert (found(ada, "wat"), found(ada, "plan")) == (["Water"], [])
    call_command("index_search", "--all")

    assert (found(ada, "wat"), found(ada, "plan")) == (["Water"], ["Plant"])
    assert capsys.readouterr().out.splitlines()[-2:] == ["2 of 2 tasks indexed.", "All tasks are indexed."]


def test_lists_do_not_read_search_documents(ada, create_task):
    task = create_task()

    with CaptureQueriesContext(connection) as captured:
        ada.get(TASKS)
        ada.get(TASKS, {"search": "water"})
        ada.patch(f"{TASKS}{task.pk}/", {"status": "completed"})

    selects = [query["sql"] for query in captured if query["sql"].startswith(("SELECT", "(SELECT"))]
    assert not [sql for sql in selects if "search_document" in sql.partition("WHERE")[0]]


@pytest.mark.django_db(transaction=True)
def test_concurrent_workers_take_different_tasks(at_once, monkeypatch):
    monkeypatch.setattr(indexing, "BATCH_SIZE", 3)
    for n in range(6):
        write_as_the_version_before(title=f"Plant {n}")
    both_hold_rows, made = [Event(), Event()], []

    def meet(title, description):
        made.append(title)
        mine, other = both_hold_rows if title in ("Plant 0", "Plant 1", "Plant 2") else both_hold_rows[::-1]
        mine.set()
        assert other.wait(20)
        return document(title, description)

    monkeypatch.setattr(indexing, "document", meet)
    at_once((indexing.index_missing,), (indexing.index_missing,))

    assert sorted(made) == [f"Plant {n}" for n in range(6)]
    assert not Task.objects.not_indexed().exists()


@pytest.mark.django_db(transaction=True)
def test_a_text_changed_during_indexing_is_indexed_again(ada, at_once, monkeypatch):
    write_as_the_version_before(title="Plant")
    rows_are_held = Event()

    def make(title, description):
        rows_are_held.set()
        return document(title, description)

    def change():
        assert rows_are_held.wait(20)
        execute("UPDATE tasks_task SET title = 'Fell/oaks'")  # waits for the worker's lock

    monkeypatch.setattr(indexing, "document", make)
    at_once((change,), (indexing.index_missing,))
    indexing.index_missing()

    assert (found(ada, "oak"), found(ada, "plant")) == (["Fell/oaks"], [])


@pytest.fixture(params=LOCALES)
def database_with_locale(request):
    """A database whose locale classifies letters differently."""
    provider, locale = request.param.split()
    at = {**connection.get_connection_params(), "cursor_factory": None}
    server = psycopg2.connect(**at)
    server.autocommit = True
    name = f"{at['dbname']}_locale"
    own = f"BUILTIN_LOCALE {locale}" if provider == "builtin" else ""
    with server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER {provider} {own} LOCALE 'C'")
    there = psycopg2.connect(**{**at, "dbname": name})
    yield there.cursor()
    there.close()
    with server.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
    server.close()


def test_search_does_not_depend_on_the_locale(database_with_locale):
    cases = [(title, text) for title, texts in PAIRS.items() for text in texts]
    matches = "SELECT %s::tsvector @@ %s::tsquery"

    for title, text in cases:
        database_with_locale.execute(matches, [document(title, ""), parse(text).anywhere])
        assert database_with_locale.fetchone() == (True,), (title, text)
