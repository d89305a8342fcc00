"""Each service has a role and a schema of its own, and cannot look into the other's."""

import json

import psycopg2
import pytest

ROLES = {"user_service": "accounts_user", "task_service": "tasks_task"}


@pytest.fixture
def connect(stack):
    secrets = json.loads((stack.folder / "secrets.json").read_text())
    programs = json.loads((stack.folder / "programs.json").read_text())
    urls = {role: row["environment"].get("DATABASE_URL") for row in programs for role in ROLES if role in row["folder"]}
    assert all(secrets[f"{role.split('_')[0].upper()}_DATABASE_PASSWORD"] in urls[role] for role in ROLES)
    opened = []

    def open_as(role, **changed):
        opened.append(psycopg2.connect(urls[role], **changed))
        return opened[-1].cursor()

    yield open_as
    for connection in opened:
        connection.close()


@pytest.mark.parametrize(("role", "table"), ROLES.items())
def test_a_service_owns_its_schema_and_no_more(connect, role, table):
    cursor = connect(role)

    cursor.execute(
        "SELECT current_schema(), rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s", [role]
    )
    assert cursor.fetchone() == (role, False, False, False)
    cursor.execute("SELECT tableowner FROM pg_tables WHERE schemaname = %s AND tablename = %s", [role, table])
    assert cursor.fetchone() == (role,)


@pytest.mark.parametrize(("role", "other"), [("user_service", "task_service"), ("task_service", "user_service")])
@pytest.mark.parametrize(
    "statement", ["SELECT * FROM {0}.{1}", "DELETE FROM {0}.{1}", "CREATE TABLE {0}.mine (id int)"]
)
def test_neither_role_reaches_the_tables_of_the_other(connect, role, other, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match=f"permission denied for schema {other}"):
        connect(role).execute(statement.format(other, ROLES[other]))


def test_passwords_are_checked_by_scram_and_a_wrong_one_is_refused(stack, connect):
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect("user_service", password="wrong")

    lines = (stack.folder / "postgres" / "pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in lines if line.strip() and not line.startswith("#")}
    assert methods == {"scram-sha-256"}
