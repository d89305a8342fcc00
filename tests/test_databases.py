"""Each service has its own role and schema, and no access to those of the other."""

import re
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.local_stack import ROOT
from tests.own_postgres import run_sql

ROLES = {"user_service": "accounts_user", "task_service": "tasks_task"}


@pytest.fixture
def connect(stack):
    secrets, programs = stack.state.secrets(), stack.programs()
    urls = {role: programs[role.replace("_", "-")]["environment"]["DATABASE_URL"] for role in ROLES}
    assert all(secrets[f"{role.split('_')[0].upper()}_DATABASE_PASSWORD"] in urls[role] for role in ROLES)
    opened = []

    def open_as(role, **changed):
        opened.append(psycopg2.connect(urls[role], **changed))
        return opened[-1].cursor()

    yield open_as
    for connection in opened:
        connection.close()


@pytest.mark.parametrize(("role", "table"), ROLES.items())
def test_a_service_owns_nothing_and_has_its_own_schema(connect, role, table):
    cursor = connect(role)

    cursor.execute(
        "SELECT current_schema(), rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s", [role]
    )
    assert cursor.fetchone() == (role, False, False, False)
    cursor.execute("SELECT tableowner FROM pg_tables WHERE schemaname = %s AND tablename = %s", [role, table])
    assert cursor.fetchone() == (f"{role}_owner",)


def test_a_service_does_not_wait_for_locks_of_the_other(stack, connect):
    """Any role may take any advisory lock; earlier versions of the services took these."""
    connect("task_service").execute("SELECT pg_advisory_lock(7302991)")
    connect("user_service").execute("SELECT pg_advisory_lock(5118204)")
    path = f"/user/users/{stack.register('lara')}/"

    answer = stack.call("PATCH", path, token=stack.admin_token(), json={"email": "lara@new.example"})

    assert answer.status_code == 200


@pytest.mark.parametrize(("role", "other"), [("user_service", "task_service"), ("task_service", "user_service")])
@pytest.mark.parametrize(
    "statement", ["SELECT * FROM {0}.{1}", "DELETE FROM {0}.{1}", "CREATE TABLE {0}.mine (id int)"]
)
def test_neither_role_can_access_the_tables_of_the_other(connect, role, other, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match=f"permission denied for schema {other}"):
        connect(role).execute(statement.format(other, ROLES[other]))


def test_passwords_use_scram_and_a_wrong_one_is_refused(stack, connect):
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect("user_service", password="wrong")

    lines = (stack.folder / "postgres" / "pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in lines if line.strip() and not line.startswith("#")}
    assert methods == {"scram-sha-256"}


def test_the_stack_runs_on_an_external_postgresql(stack, own_stack):
    """The commands of docs/by-hand.md create the databases on the server of another stack."""
    page = (ROOT / "docs" / "by-hand.md").read_text()
    lines = re.search(r"(    CREATE DATABASE .*?;\n)\n", page, re.DOTALL).group(1)
    for name, other in [("user_service", "own_users"), ("task_service", "own_tasks"), ("tmservice", "own")]:
        lines = lines.replace(name, other)
    creation, rest = lines.split("\\c own\n")
    run_sql(stack.owner_url(), *statements(creation))
    run_sql(stack.owner_url("own"), *statements(rest))
    port = urlsplit(stack.owner_url()).port

    own_stack.start(
        USER_DATABASE_URL=f"postgresql://own_users:...@127.0.0.1:{port}/own",
        TASK_DATABASE_URL=f"postgresql://own_tasks:...@127.0.0.1:{port}/own",
    )

    alice_id = own_stack.register("alice")
    token = own_stack.admin_token()
    made = own_stack.call("POST", "/task/tasks/", token=token, json={"title": "x", "assigned_to": alice_id})
    assert made.status_code == 201
    assert not (own_stack.folder / "postgres").exists()
    assert not [process for process in own_stack.processes() if process.name() == "postgres"]


def statements(lines):
    return [statement for statement in lines.split(";\n") if statement.strip()]
