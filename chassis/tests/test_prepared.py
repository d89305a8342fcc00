"""Constant statements are prepared once per connection, where that is safe."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import ProgrammingError, connection, transaction

from chassis import prepared
from chassis.compiled_query import CompiledQuery, parameter
from chassis.models import Window
from chassis.testing.queries import replacing

pytestmark = pytest.mark.django_db

NOW = datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def forgotten(db):
    """Forget what earlier tests have prepared on this connection."""
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    connection.prepared.clear()


def run(sql, *parameters):
    with connection.cursor() as cursor:
        prepared.execute(cursor, sql, parameters)
        return cursor.fetchall()


def statements():
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [sql for (sql,) in cursor.fetchall()]


def test_a_statement_is_prepared_once():
    sql = "SELECT %s::int + 1, '100%%'"

    assert [run(sql, number) for number in (1, 2, None)] == [[(2, "100%")], [(3, "100%")], [(None, "100%")]]
    assert statements() == ["PREPARE statement_1 (unknown) AS SELECT $1::int + 1, '100%'"]


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT 1", []),
        ("SELECT %s::timestamptz - %s", [NOW, timedelta(days=2, microseconds=1)]),
        ("SELECT %s - %s, %s + 1", [NOW, NOW, date(2030, 1, 1)]),
        ("SELECT 1 = ANY(%s), %s::text, %s::jsonb, %s::float", [[1, 2], "it's %s \\ $1", '{"a": [1]}', 0.5]),
        ("WITH one AS (SELECT %s AS yes) SELECT yes AND true FROM one", [True]),
        ("SELECT count(*) FROM chassis_window WHERE key = %s AND requests > %s", ["a", 2**40]),
    ],
)
def test_the_result_is_that_of_the_plain_statement(sql, parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        plain = cursor.fetchall()

    assert run(sql, *parameters) == run(sql, *parameters) == plain
    assert len(statements()) == 1


def test_a_compiled_query_is_prepared():
    Window.objects.create(key="a", ends_at=NOW, requests=7)
    query = CompiledQuery(lambda: Window.objects.filter(key=parameter("key")).values("requests"))

    assert [query.first(key=key) for key in ("a", "b", "a")] == [{"requests": 7}, None, {"requests": 7}]
    assert len(statements()) == 1


def test_nothing_is_prepared_behind_a_pooler(monkeypatch):
    monkeypatch.setattr(connection, "is_direct", False)

    assert run("SELECT %s::int", 1) == [(1,)]
    assert statements() == []


def test_a_wrapper_sees_the_plain_statement():
    run("SELECT 1")

    with replacing("1", "2"):
        assert run("SELECT 1") == [(2,)]


def test_a_connection_has_a_limited_number_of_prepared_statements(monkeypatch):
    monkeypatch.setattr(prepared, "MAX_PREPARED", 2)

    assert [run(f"SELECT {number}") for number in range(4)] == [[(0,)], [(1,)], [(2,)], [(3,)]]
    assert len(statements()) == 2


def test_a_statement_that_cannot_be_prepared_raises_its_error():
    with pytest.raises(ProgrammingError, match="chassis_nothing"), transaction.atomic():
        run("SELECT * FROM chassis_nothing WHERE id = %s", 1)

    assert run("SELECT 1") == [(1,)]


@pytest.mark.django_db(transaction=True)
def test_a_new_connection_has_no_prepared_statements():
    run("SELECT 1")
    connection.close()

    assert run("SELECT 1") == [(1,)]
    assert connection.is_direct
    assert statements() == ["PREPARE statement_1 AS SELECT 1"]
