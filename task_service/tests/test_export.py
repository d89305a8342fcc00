"""The CSV export."""

import csv
import re
import tracemalloc
from datetime import UTC, date
from io import StringIO
from pathlib import Path

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.test import RequestFactory
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from directory.models import User
from tasks.export import escape_formula
from tasks.models import Task
from tasks.serializers import TaskSerializer
from tests.conftest import TASKS, invalid_fields

pytestmark = pytest.mark.django_db

EXPORT = f"{TASKS}export.csv"
HEADER = (
    "id,title,description,status,priority,due_date,is_overdue,assigned_to,assignee,"
    "created_by,created_at,updated_at,completed_at,version"
)
RULE = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text()
SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
WHITESPACE = ' \u00a0\u3000\v\f\u200b\u200e\ufeff"\x85\u2028\u2029'
TEXT = some.text(
    some.one_of(
        some.sampled_from(f"{SIGNS}{WHITESPACE},;|\t\r\n'a"), some.characters(codec="utf-8", exclude_characters="\0")
    ),
    max_size=30,
)
DATES = some.none() | some.dates(date(2000, 1, 1), date(2100, 12, 31))
INSTANTS = some.datetimes(timezones=some.just(UTC))
TASK_VALUES = some.lists(
    some.fixed_dictionaries(
        {
            "title": TEXT.filter(bool),
            "description": TEXT,
            "created_at": INSTANTS,
            "updated_at": INSTANTS,
            "status": some.sampled_from(Task.Status.values),
            "priority": some.sampled_from(Task.Priority.values),
            "due_date": DATES,
            "assigned_to_id": some.sampled_from([None, 102, 999]),
            "version": some.integers(1, 2**31 - 1),
        }
    ),
    max_size=3,
)
WITHOUT_DEADLINE = settings(deadline=None, database=None)
MANY = """
    INSERT INTO tasks_task (title, description, status, priority, created_by, created_at, updated_at, version)
    SELECT 'Task ' || n, repeat('x', 1000), 'todo', 2, 101, now(), now(), 1 FROM generate_series(1, %s) AS n
"""


def exported(person, query=""):
    answer = person.get(f"{EXPORT}?{query}")
    assert answer.status_code == 200, answer.content
    return answer.getvalue().decode()


def rows(person, query=""):
    return list(csv.DictReader(StringIO(exported(person, query), newline=""), strict=True))


def documented_pattern():
    """Return the pattern of the code in docs/export.md."""
    (pattern,) = re.findall(r'^ *r?"""(.+)"""', RULE, re.MULTILINE)
    return pattern


def unescape_formula(cell):
    return re.sub(documented_pattern(), "", cell)


def cell(value):
    """Return the cell for a JSON value."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


@pytest.fixture
def tasks(create_task, alice, bob):
    create_task(title="one", due_date="2001-01-01", assigned_to=alice.id, priority=4)
    create_task(title="two", due_date="2096-02-29", assigned_to=bob.id, status="in_progress")
    create_task(title="three", description="two too", assigned_to=alice.id, status="completed", priority=1)
    create_task(title="four", version=7)


def test_it_works(ada, alice, create_task):
    task = create_task(title="Water", due_date="2001-01-01", assigned_to=alice.id, priority=4)
    at = task.created_at.isoformat().replace("+00:00", "Z")

    answer = ada.get(EXPORT)

    assert (answer.status_code, answer.getvalue().decode()) == (
        200,
        f"{HEADER}\r\n{task.pk},Water,,todo,urgent,2001-01-01,true,{alice.id},alice,101,{at},{at},,1\r\n",
    )
    assert answer["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert answer["Content-Disposition"] == 'attachment; filename="tasks.csv"'
    assert (answer["Cache-Control"], answer["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert (answer["Vary"], bool(answer["X-Request-ID"])) == ("origin, Authorization", True)


def test_an_empty_export_has_only_the_header(alice, tasks):
    assert exported(alice, "search=nowhere") == f"{HEADER}\r\n"


def test_the_rows_match_the_list_with_filters_and_ordering(ada, alice, tasks):
    queries = [
        *("", "ordering=due_date", "ordering=-due_date", "ordering=-priority", "ordering=id", "ordering=updated_at"),
        *("status=todo&status=completed", "priority=low,urgent", "overdue=true", "assigned_to=me", "assigned_to=none"),
        *("ordering=completed_at", "ordering=-completed_at", "due_soon=true", "created_by=ada", "assigned_to=bob,none"),
        *("due_date=none", "completed_after=2001-01-01", "completed_before=2001-01-01"),
        *("search=two", "due_date=2096-02-29", "due_date_after=2001-01-02", "due_date_before=2096-02-28&ordering=id"),
    ]

    for person, query in [*((ada, query) for query in queries), *((alice, query) for query in queries[::4])]:
        listed = person.get(f"{TASKS}?page_size=100&{query}").json()["results"]
        for task in listed:
            task["assignee"] = task["assignee"] and task["assignee"]["username"]
            del task["status_label"]

        assert rows(person, query) == [{name: cell(task[name]) for name in task} for task in listed], query


def test_an_unknown_assignee_is_exported_without_username(ada, create_task):
    create_task(status="completed", assigned_to=999)

    (row,) = rows(ada)
    assert (row["assigned_to"], row["assignee"]) == ("999", "")
    assert row["completed_at"] == row["created_at"]


UNCHANGED = [
    *("a, b", 'say "hi"', '"', '""', "two\nlines", "two\r\nlines", "a\rb", "a;b", "it's", "a=1", "1-1", "1e5", "NULL"),
    *("Tür, 植物 🌱", "می\u200cروم", "a\u2028b", "\\", " padded "),
]
FORMULAS = [
    *("=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x","y")', "-", "=\u200b1", " =1", "'=1", '"=1"', "\u00a0=1"),
    *("\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x", " \uff1d1", "\ttab", "\n", "\r\n", " \t", "\t", "\rx"),
]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        *((text, text) for text in UNCHANGED),
        *((text, f"'{text}") for text in FORMULAS),
        ("Angebot;=cmd|'/C calc'!A0", "Angebot;'=cmd|'/C calc'!A0"),
        ("a|=1|+2", "a|'=1|'+2"),
        ("a\t=1", "a\t'=1"),
        ("one\n=1", "one\n'=1"),
        ("one\r\n\r\n  -1", "one\r\n\r\n'  -1"),
        ("-1,=1", "'-1,'=1"),
        ('=1","=2', "'=1\",'\"=2"),
        ("=1\r\n=2", "'=1\r\n'=2"),
        ("a;\u00a0\uff1d1", "a;'\u00a0\uff1d1"),
        ("a;'=1", "a;''=1"),
        ("\t=1", "'\t'=1"),
    ],
    ids=ascii,
)
def test_only_formulas_are_escaped_in_every_text(ada, alice, create_task, text, cell):
    User.objects.filter(pk=alice.id).update(username=text)
    create_task(title=text, description=text, assigned_to=alice.id)

    (row,) = rows(ada)
    assert [row["title"], row["description"], row["assignee"]] == [cell] * 3


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@settings(WITHOUT_DEADLINE)
@given(text=TEXT)
@example("Angebot;=cmd|'/C calc'!A0\n=1,\t@x")
def test_formulas_after_separators_and_line_ends_are_escaped(separator, text):
    escaped = escape_formula(text)

    for line in re.split("[\r\n]", escaped):
        for row in (line.split(separator), *csv.reader([line], delimiter=separator)):
            assert [cell for cell in row if cell.strip(WHITESPACE).startswith(tuple(SIGNS))] == []


@settings(WITHOUT_DEADLINE)
@given(text=TEXT)
@example("'=1;''+2\r\n\t'")
@example("\ufeff\u200b=1")
def test_escaping_can_be_undone(text):
    assert unescape_formula(escape_formula(text)) == text


@settings(WITHOUT_DEADLINE)
@given(text=TEXT)
@example("\t=1")
def test_the_texts_with_apostrophes_are_those_of_the_documented_rule(text):
    """Without the quick check, and by the pattern in docs/export.md without its apostrophes."""
    assert escape_formula(text) == re.sub(documented_pattern().replace("'(?=", "(?="), "'", text)


@settings(WITHOUT_DEADLINE, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=TASK_VALUES, username=TEXT)
def test_the_bytes_are_those_of_the_serializer_as_csv(ada, alice, values, username):
    Task.objects.all().delete()
    User.objects.filter(pk=alice.id).update(username=username)
    for each in values:
        Task.objects.create(created_by=101, **each)

    file = StringIO()
    csv.writer(file).writerow(HEADER.split(","))
    for task in Task.objects.with_assignee().order_by("id"):
        csv.writer(file).writerow(map(cell, serialized(task).values()))
    assert exported(ada, "ordering=id") == file.getvalue()


def serialized(task):
    facts = TaskSerializer(task).data
    del facts["status_label"]
    facts["assignee"] = facts["assignee"] and facts["assignee"]["username"]
    return facts | {name: escape_formula(facts[name]) for name in ("title", "description", "assignee")}


@pytest.mark.parametrize(("name", "separator"), [("comma", ","), ("semicolon", ";"), ("tab", "\t")])
@settings(WITHOUT_DEADLINE, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(texts=some.lists(TEXT, max_size=5))
def test_python_can_parse_every_text(ada, create_task, name, separator, texts):
    Task.objects.all().delete()
    for text in texts:
        create_task(description=text)

    file = exported(ada, f"separator={name}&bom=true&ordering=id")
    read = csv.DictReader(StringIO(file.removeprefix("\ufeff"), newline=""), delimiter=separator, strict=True)

    assert [unescape_formula(row["description"]) for row in read] == texts


def test_the_mark_and_the_separator_can_be_chosen(ada, create_task):
    create_task(title="Tür; Tor, Fenster")

    for query, begin, cell in [
        ("", "id,title,", '"Tür; Tor, Fenster",'),
        ("bom=False&separator=comma", "id,title,", '"Tür; Tor, Fenster",'),
        ("bom=true", "\ufeffid,title,", '"Tür; Tor, Fenster",'),
        ("bom=True&separator=semicolon", "\ufeffid;title;", '"Tür; Tor, Fenster";'),
        ("separator=tab", "id\ttitle\t", "Tür; Tor, Fenster\t"),
    ]:
        file = exported(ada, query)
        assert file.startswith(begin)
        assert cell in file
        assert file.count("\ufeff") == begin.count("\ufeff")


def test_a_long_text_is_escaped_in_linear_time():
    for text in ("'" * 50_000, " " * 50_000, ";'" * 25_000, '\n "' * 15_000):
        assert escape_formula(text) == text or text[0] == "\n"


def test_cells_are_quoted_as_rfc_4180_says(ada, create_task):
    create_task(title='say "hi"', description="a,b\r\nc")

    assert ',"say ""hi""","a,b\r\nc",todo,' in exported(ada)


@pytest.mark.parametrize(
    "query",
    [
        *("cursor=x", "page_size=5", "format=csv", "ordering=title", "status=bogus", "bom=yes"),
        *("separator=;", "separator=,", "separator=", "separator=Comma"),
    ],
)
def test_invalid_parameters_are_400(ada, query):
    answer = ada.get(f"{EXPORT}?{query}")

    assert (invalid_fields(answer), answer["Content-Type"]) == ([query.partition("=")[0]], "application/problem+json")
    assert "Content-Disposition" not in answer


def test_an_error_before_the_first_row_is_a_problem_response(ada, tasks):
    ada.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tasks_task RENAME COLUMN description TO lost")

    answer = ada.get(EXPORT)

    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")


def test_more_rows_take_no_more_memory(ada):
    def peak_memory(number):
        with connection.cursor() as cursor:
            cursor.execute(MANY, [number - Task.objects.count()])
        tracemalloc.start()
        lines = sum(piece.count(b"\r\n") for piece in ada.get(EXPORT).streaming_content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert lines == number + 1
        return peak

    of_a_thousand = peak_memory(1_000)
    assert peak_memory(5_000) < 1.5 * of_a_thousand


def read_the_first_piece(person, method):
    """Close the response, as a server does after a disconnect, and return whether a transaction is left open."""
    environ = getattr(RequestFactory(), method)(EXPORT, headers={"Authorization": f"Bearer {person.token}"}).environ
    response = WSGIHandler()(environ, lambda status, headers: None)
    assert next(iter(response)).startswith(HEADER.encode())
    response.close()
    return connection.in_atomic_block, person.get(TASKS).status_code


@pytest.mark.django_db(transaction=True)
def test_a_disconnected_client_leaves_no_open_transaction(ada, create_task, at_once):
    create_task()

    for method in ("get", "head"):
        assert at_once((read_the_first_piece, ada, method)) == [(False, 200)]
