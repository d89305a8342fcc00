"""Migrations run as the schema owner; the serving role can only read and write rows."""

import os
import sys
from urllib.parse import urlsplit

import psycopg2
import pytest

from chassis import time_limits
from deploy import provision
from stack import check
from tests.local_stack import ROOT, output_of
from tests.own_postgres import own_postgres, run_sql

SERVICES = {"USER": "user_service", "TASK": "task_service"}
# Tables in which the serving role may insert but not change or delete rows.
APPEND_ONLY = {"accounts_auditevent", "django_migrations"}
KEPT_BY_TRIGGER = {"tasks_activity"}  # a DELETE is ignored: the previous version sends one
ADD_HISTORY = (
    "INSERT INTO tasks_activity (task_id, version, kind, field, reason, at) VALUES (1, 1, 'created', '', '', now()) "
    "RETURNING id"
)


@pytest.fixture(scope="module")
def server():
    with own_postgres() as owner_url:
        yield owner_url


def place(server, name, role):
    parts = urlsplit(server)
    return parts._replace(netloc=f"{role}:simple@{parts.hostname}:{parts.port}", path=f"/{name}").geturl()


def urls(server, database):
    return {name: place(server, database, f"{database}_{role}") for name, role in provision.ROLES.items()}


def manage(service, *arguments, **settings):
    given = {**os.environ, **check.SETTINGS, "TMSERVICE_ENV_FILE": os.devnull, **settings}
    return output_of([sys.executable, "manage.py", *arguments], cwd=ROOT / SERVICES[service], env=given)


def migrate(service, **settings):
    done = manage(service, "migrate", "-v0", **settings)
    assert done.returncode == 0, done.stderr


def migrated(server, database):
    """Provision both services, migrate them as their owners, and return the URLs."""
    made = urls(server, database)
    provision.provision_urls(server, made)
    for service in SERVICES:
        serving, owning = made[f"{service}_DATABASE_URL"], made[f"{service}_OWNER_DATABASE_URL"]
        migrate(service, DATABASE_URL=serving, OWNER_DATABASE_URL=owning)
    return made


@pytest.fixture(scope="module")
def fresh(server):
    return migrated(server, "fresh")


RIGHTS = """
    SELECT tablename, has_table_privilege(tablename, 'SELECT'), has_table_privilege(tablename, 'INSERT'),
        has_table_privilege(tablename, 'UPDATE'), has_table_privilege(tablename, 'DELETE'),
        has_table_privilege(tablename, 'TRUNCATE'), pg_has_role(tableowner, 'MEMBER')
    FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1
"""


def assert_serves(url):
    """The role may read and write all tables that are not append-only, and owns none."""
    tables = run_sql(url, RIGHTS)
    assert len(tables) > 5
    for name, *rights in tables:
        deletes, adds = name not in APPEND_ONLY, name != "django_migrations"
        changes = deletes and name not in KEPT_BY_TRIGGER
        assert rights == [True, adds, changes, deletes, False, False], name
    sequences = run_sql(
        url,
        "SELECT DISTINCT has_sequence_privilege(oid, 'USAGE') FROM pg_class "
        "WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace",
    )
    assert sequences == [(True,)]


@pytest.mark.parametrize("service", SERVICES)
def test_the_serving_role_reads_and_writes_but_owns_nothing(fresh, service):
    url = fresh[f"{service}_DATABASE_URL"]

    assert_serves(url)
    for statement in ("CREATE TABLE more (id int)", "DROP TABLE chassis_window", "TRUNCATE chassis_window"):
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.InvalidSchemaName)):
            run_sql(url, statement)


def test_the_serving_role_cannot_delete_task_history(fresh):
    """The previous version sends a DELETE, which is allowed, but the owner's trigger keeps the row."""
    url = fresh["TASK_DATABASE_URL"]
    rows = run_sql(url, ADD_HISTORY)

    assert run_sql(url, "DELETE FROM tasks_activity RETURNING id") == []
    for statement in (
        "UPDATE tasks_activity SET version = 2",
        "TRUNCATE tasks_activity",
        "ALTER TABLE tasks_activity DISABLE TRIGGER ALL",
        "DROP TRIGGER activity_is_kept ON tasks_activity",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION keep_activity() RETURNS trigger LANGUAGE sql AS 'SELECT OLD'",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run_sql(url, statement)
    assert run_sql(url, "SELECT id FROM tasks_activity") == rows


@pytest.mark.parametrize("service", SERVICES)
def test_the_serving_role_can_use_tables_of_new_migrations(fresh, service):
    run_sql(fresh[f"{service}_OWNER_DATABASE_URL"], "CREATE TABLE next (id bigserial)")
    try:
        assert run_sql(fresh[f"{service}_DATABASE_URL"], "INSERT INTO next DEFAULT VALUES RETURNING id") == [(1,)]
    finally:
        run_sql(fresh[f"{service}_OWNER_DATABASE_URL"], "DROP TABLE next")


@pytest.mark.parametrize("service", SERVICES)
def test_the_serving_role_cannot_migrate(server, service):
    made = urls(server, "unowned")
    provision.provision_urls(server, made)

    done = manage(service, "prepare", DATABASE_URL=made[f"{service}_DATABASE_URL"])

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("; set OWNER_DATABASE_URL.")


@pytest.mark.parametrize("service", SERVICES)
def test_ownership_is_transferred_while_the_role_serves(server, service):
    """An installation of an older version: one role owns everything and has an open connection."""
    database = f"before_{service.lower()}"
    made = urls(server, database)
    url = made[f"{service}_DATABASE_URL"]
    role = urlsplit(url).username
    run_sql(server, f"CREATE DATABASE {database}", f"CREATE ROLE {role} LOGIN PASSWORD 'simple'")
    run_sql(
        urlsplit(server)._replace(path=f"/{database}").geturl(),
        f"CREATE SCHEMA {role} AUTHORIZATION {role}",
        f"ALTER ROLE {role} IN DATABASE {database} SET search_path = {role}",
    )
    migrate(service, DATABASE_URL=url)
    serving = psycopg2.connect(url)
    serving.autocommit = True

    with serving.cursor() as cursor:
        cursor.execute("INSERT INTO chassis_window VALUES ('before', now(), 1)")
        provision.provision_urls(server, made)
        cursor.execute("UPDATE chassis_window SET requests = 2 RETURNING key")
        assert cursor.fetchall() == [("before",)]
        migrate(service, DATABASE_URL=url, OWNER_DATABASE_URL=made[f"{service}_OWNER_DATABASE_URL"])
        cursor.execute("DELETE FROM chassis_window RETURNING requests")
        assert cursor.fetchall() == [(2,)]
    serving.close()

    assert_serves(url)
    assert run_sql(url, "SELECT relpersistence FROM pg_class WHERE relname = 'chassis_window'") == [("u",)]


@pytest.mark.parametrize("service", SERVICES)
def test_a_lock_of_another_role_does_not_block_prepare(fresh, service):
    """Any role may take any advisory lock; here the other service's role holds the one of older versions."""
    (other,) = SERVICES.keys() - {service}
    schema = urlsplit(fresh[f"{service}_DATABASE_URL"]).username
    holder = psycopg2.connect(fresh[f"{other}_DATABASE_URL"])
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7466111, hashtext(%s))", [schema])

    done = manage(
        service,
        "prepare",
        DATABASE_URL=fresh[f"{service}_DATABASE_URL"],
        OWNER_DATABASE_URL=fresh[f"{service}_OWNER_DATABASE_URL"],
    )
    holder.close()

    assert done.returncode == 0, done.stderr


def test_migrating_sets_only_missing_time_limits(server, fresh):
    """Services of an older version set their limits on connect."""
    url = fresh["TASK_DATABASE_URL"]
    role = f"ALTER ROLE {urlsplit(url).username} IN DATABASE fresh"
    run_sql(server, f"{role} RESET statement_timeout", f"{role} RESET lock_timeout")
    run_sql(server, f"{role} SET idle_in_transaction_session_timeout = '60s'")
    assert run_sql(url, "SHOW statement_timeout") == [("0",)]

    migrate("TASK", DATABASE_URL=url, OWNER_DATABASE_URL=fresh["TASK_OWNER_DATABASE_URL"])

    assert [run_sql(url, f"SHOW {name}")[0][0] for name in time_limits.TIME_LIMITS] == ["3s", "2s", "1min"]
