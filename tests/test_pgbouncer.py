"""The services behind a real PgBouncer in transaction mode: time limits hold, and no state leaks."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from chassis import time_limits
from deploy import provision
from stack import postgres
from tests.local_stack import LocalStack
from tests.own_postgres import own_postgres, run_sql
from tests.pgbouncer import pgbouncer
from tests.test_roles import manage

pytestmark = pytest.mark.slow

PASSWORDS = dict.fromkeys(provision.ROLES.values(), "simple")
INSERT_TASKS = """
    INSERT INTO task_service.tasks_task
        (title, description, status, priority, created_by, created_at, updated_at, version)
    SELECT 'row ' || n, '', 'todo', 1, 1, now(), now(), 1 FROM generate_series(1, 3000) AS n
"""
SESSION_LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL with both services' roles and empty databases."""
    with own_postgres() as owner_url:
        provision.provision_urls(owner_url, urls(urlsplit(owner_url).port))
        yield owner_url


def urls(port):
    return {name: postgres.url(role=role, password="simple", port=port) for name, role in provision.ROLES.items()}


def in_tmservice(server):
    return urlsplit(server)._replace(path="/tmservice").geturl()


@pytest.fixture(scope="module")
def pool(server):
    with pgbouncer(urlsplit(server).port, PASSWORDS) as port:
        yield port


def settings(server, pool):
    direct, pooled = urls(urlsplit(server).port), urls(pool)
    return {name: direct[name] if "OWNER" in name else pooled[name] for name in direct}


@pytest.fixture(scope="module")
def pooled(server, pool):
    """A stack that serves through PgBouncer and migrates without it."""
    stack = LocalStack()
    try:
        stack.start(**settings(server, pool), MAX_REQUESTS_PER_CLIENT="64")
        yield stack
    finally:
        stack.remove()


def test_time_limits_hold_on_every_connection(pooled, pool):
    for name in ("USER_DATABASE_URL", "TASK_DATABASE_URL"):
        limits = [run_sql(urls(pool)[name], f"SHOW {limit}")[0][0] for limit in time_limits.TIME_LIMITS]
        assert limits == list(time_limits.TIME_LIMITS.values())


def test_more_callers_than_connections_are_served(pooled):
    """Keyed POSTs, searches and changes of one task: 16 concurrent callers on three connections per role."""
    token = pooled.admin_token()

    def work(number):
        key = {"Idempotency-Key": f"pooled-{number % 4}"}
        made = pooled.call("POST", "/task/tasks/", token=token, json={"title": f"pooled {number % 4}"}, headers=key)
        path = f"/task/tasks/{made.json().get('id', 0)}/"
        changed = pooled.call("PATCH", path, token=token, json={"description": f"{number}"})
        listed = pooled.call("GET", "/task/tasks/?search=pooled", token=token)
        return made.status_code, changed.status_code, listed.status_code

    with ThreadPoolExecutor(16) as workers:
        answers = set(workers.map(work, range(64)))

    assert answers <= {(201, 200, 200), (409, 404, 200)}  # 409: the first request with that key is still running
    assert len(pooled.call("GET", "/task/tasks/?search=pooled", token=token).json()["results"]) == 4


def test_no_statement_is_prepared_on_a_shared_connection(pooled, pool):
    token = pooled.admin_token()
    assert [pooled.call("GET", path, token=token).status_code for path in ("/task/tasks/", "/user/me/")] == [200, 200]

    for name in ("USER_DATABASE_URL", "TASK_DATABASE_URL"):
        assert run_sql(urls(pool)[name], "SELECT statement FROM pg_prepared_statements") == []


def test_a_long_export_is_complete(pooled, server):
    run_sql(in_tmservice(server), INSERT_TASKS)

    answer = pooled.call("GET", "/task/tasks/export.csv", token=pooled.admin_token())

    assert answer.status_code == 200
    assert answer.text.count("row ") >= 3000


def test_waiting_for_a_locked_row_ends_at_the_role_limit(pooled, server):
    token = pooled.admin_token()
    path = f"/task/tasks/{pooled.call('POST', '/task/tasks/', token=token, json={'title': 'held'}).json()['id']}/"
    with closing(psycopg2.connect(in_tmservice(server))) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT * FROM task_service.tasks_task WHERE title = 'held' FOR UPDATE")

        answer = pooled.call("PATCH", path, token=token, json={"status": "completed"})

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert "changing the same" in answer.json()["detail"]
    assert pooled.call("PATCH", path, token=token, json={"status": "completed"}).status_code == 200


def test_no_session_lock_is_left_behind(pooled, server):
    assert run_sql(in_tmservice(server), SESSION_LOCKS) == [(0,)]


def test_the_doctor_reads_the_limits_in_force(pooled, server, pool):
    done = pooled.run(script="doctor", **settings(server, pool))

    lines = [line for line in done.stdout.splitlines() if " timeouts " in line]
    limits = "statement_timeout 3 s, lock_timeout 2 s, idle_in_transaction_session_timeout 30 s"
    assert lines == [f"ok      timeouts    {limits}"] * 2, done.stdout


def test_migrations_through_a_pooler_are_refused(pool):
    url = urls(pool)["TASK_OWNER_DATABASE_URL"]

    for command in (["migrate", "-v0"], ["prepare"]):
        done = manage("TASK", *command, DATABASE_URL=urls(pool)["TASK_DATABASE_URL"], OWNER_DATABASE_URL=url)
        assert done.returncode == 1
        assert done.stderr.endswith("set OWNER_DATABASE_URL to the address of PostgreSQL itself.\n"), done.stderr


def test_limits_hold_if_the_pooler_ignores_settings(server, pooled):
    """The usual advice for "unsupported startup parameter"; the role's limits then apply."""
    with pgbouncer(urlsplit(server).port, PASSWORDS, more="ignore_startup_parameters = options") as port:
        serving, owning = (urls(port)[f"TASK_{name}"] for name in ("DATABASE_URL", "OWNER_DATABASE_URL"))
        for _ in range(2):  # the second would hang if the first had left a lock behind
            done = manage("TASK", "prepare", DATABASE_URL=serving, OWNER_DATABASE_URL=owning)
            assert done.returncode == 0, done.stderr
        assert run_sql(serving, "SHOW statement_timeout") == [("3s",)]
