"""scripts/provision-database: roles and schemas on any PostgreSQL, or a one-sentence error."""

import sys
from urllib.parse import quote, urlsplit

import psycopg2
import pytest

from chassis import time_limits
from deploy import provision
from stack.ports import free_ports
from tests.local_stack import ROOT, environment, output_of
from tests.own_postgres import own_postgres, run_sql

SPECIAL = "p@ss:w/o?r#d %41'\"\\$$ ü"


@pytest.fixture(scope="module")
def server():
    with own_postgres() as owner_url:
        yield owner_url


@pytest.fixture(scope="module")
def managed(server):
    """The URL of a role on a hosting platform: it owns a database and may create roles, nothing else."""
    run_sql(
        server,
        "CREATE ROLE landlord LOGIN CREATEROLE PASSWORD 'only-for-this-run'",
        "CREATE DATABASE managed OWNER landlord",
    )
    return elsewhere(server, "managed", user="landlord:only-for-this-run")


def elsewhere(url, database, *, user=""):
    parts = urlsplit(url)
    user = user or parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@{parts.hostname}:{parts.port}", path=f"/{database}").geturl()


def run(*arguments, **settings):
    command = [sys.executable, ROOT / "scripts" / "provision-database", *arguments]
    return output_of(command, env=environment(**settings))


def provisioned(*arguments, **settings):
    """Run the script and return its output for .env."""
    done = run(*arguments, **settings)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def refusal(*arguments, **settings):
    done = run(*arguments, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("scripts/provision-database: ")
    return line.removeprefix("scripts/provision-database: ")


def urls(server, database, prefix, *, password="simple"):
    return {
        name: elsewhere(server, database, user=f"{role.replace('service', prefix)}:{quote(password, safe='')}")
        for name, role in provision.ROLES.items()
    }


def test_the_urls_name_the_host_that_the_services_use():
    with own_postgres() as owner_url:
        settings = provisioned("--host", "dpg-abc123-a", f"{owner_url}?sslmode=prefer")
        here = urlsplit(owner_url).netloc.rpartition("@")[2]
        assert {url.rpartition("@")[2] for url in settings.values()} == {"dpg-abc123-a/tmservice"}
        assert run_sql(settings["USER_DATABASE_URL"].replace("dpg-abc123-a", here), "SELECT 1") == [(1,)]


def assert_apart(settings):
    """Each owner has a schema without access to the other; the serving role cannot create anything."""
    for service, other in (("USER", "TASK"), ("TASK", "USER")):
        serving, owning = settings[f"{service}_DATABASE_URL"], settings[f"{service}_OWNER_DATABASE_URL"]
        schema, others = urlsplit(serving).username, urlsplit(settings[f"{other}_DATABASE_URL"]).username
        run_sql(owning, "CREATE TABLE mine (id int)")
        for url in (serving, owning):
            assert run_sql(url, "SHOW search_path") == [(schema,)]
            assert [run_sql(url, f"SHOW {name}")[0][0] for name in time_limits.TIME_LIMITS] == [
                "0" if url == owning else "3s",
                "2s",
                "30s",
            ]
            assert_denied(url, f"SELECT * FROM {others}.mine", f"CREATE TABLE {others}.theirs (id int)")
            assert_denied(url, "CREATE TABLE public.anybodys (id int)")
        assert_denied(serving, f"CREATE TABLE {schema}.more (id int)", f"DROP TABLE {schema}.mine")


def assert_denied(url, *statements):
    for statement in statements:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run_sql(url, statement)


def test_each_service_gets_isolated_roles_and_schemas(server):
    generated = provisioned(server)

    assert {name: urlsplit(url).username for name, url in generated.items()} == provision.ROLES
    assert {urlsplit(url).path for url in generated.values()} == {"/tmservice"}
    assert_apart(generated)


def test_createrole_is_enough_in_an_owned_database(managed):
    chosen = urls(managed, "managed", "rented")

    assert provisioned(managed, **chosen) == {}

    assert_apart(chosen)


def test_a_second_run_applies_a_new_password(server, managed):
    for owner, database in ((server, "twice"), (managed, "managed")):
        before = urls(owner, database, f"{database}_again")
        provisioned(owner, **before)
        run_sql(before["USER_OWNER_DATABASE_URL"], "CREATE TABLE kept AS SELECT 7 AS id")

        after = urls(owner, database, f"{database}_again", password=SPECIAL)
        assert provisioned(owner, **after) == {}

        assert run_sql(after["USER_OWNER_DATABASE_URL"], "SELECT id FROM kept") == [(7,)]
        assert run_sql(after["TASK_DATABASE_URL"], "SELECT 7") == [(7,)]
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            run_sql(before["TASK_DATABASE_URL"], "SELECT 7")


def test_urls_in_the_env_file_are_kept_and_the_rest_generated(server, tmp_path):
    file = tmp_path / "settings"
    chosen = urls(server, "written", "written")
    run_sql(server, "CREATE DATABASE written")
    file.write_text(f"USER_DATABASE_URL={chosen['USER_DATABASE_URL']}\n")

    generated = provisioned(elsewhere(server, "written"), TMSERVICE_ENV_FILE=str(file))

    assert list(generated) == ["USER_OWNER_DATABASE_URL", "TASK_DATABASE_URL", "TASK_OWNER_DATABASE_URL"]
    assert urlsplit(generated["USER_OWNER_DATABASE_URL"]).username == "user_written_owner"
    assert {urlsplit(url).path for url in generated.values()} == {"/written"}
    assert_apart({"USER_DATABASE_URL": chosen["USER_DATABASE_URL"], **generated})


def test_each_service_may_have_its_own_database(server):
    chosen = {
        "USER_DATABASE_URL": elsewhere(server, "people", user="of_people:simple"),
        "TASK_DATABASE_URL": elsewhere(server, "work", user="of_work:simple"),
    }

    provisioned(server, **chosen)

    for name, other in (("USER_DATABASE_URL", "work"), ("TASK_DATABASE_URL", "people")):
        assert run_sql(chosen[name], "SELECT 7") == [(7,)]
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            run_sql(elsewhere(chosen[name], other), "SELECT 7")


@pytest.mark.parametrize(
    ("owner_url", "generated"),
    [
        ("postgresql://me:x@db.example.com/shop?sslmode=require", "@db.example.com/shop?sslmode=require"),
        ("postgres://me:a@b@[::1]:5433/postgres", "@[::1]:5433/tmservice"),
        ("postgresql:///?host=/run/postgresql", "@localhost/tmservice"),
    ],
)
def test_generated_urls_use_the_host_of_the_owner_url(owner_url, generated):
    for url in provision.service_urls(owner_url, {}).values():
        assert f"@{url.rpartition('@')[2]}" == generated


@pytest.mark.parametrize(
    ("owner_url", "sentence"),
    [
        ("host=localhost dbname=x", "OWNER_URL must be a postgresql:// URL."),
        ("mysql://me:x@127.0.0.1/x", "OWNER_URL must be a postgresql:// URL."),
        *(
            (
                f"postgresql://me:top{special}secret@127.0.0.1/x",
                "OWNER_URL is not a valid URL; percent-encode special characters",
            )
            for special in "#/?"
        ),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(owner_url, sentence):
    message = refusal(owner_url)

    assert message.startswith(sentence)
    assert "secret" not in message


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://a:b@127.0.0.1/x", "USER_DATABASE_URL must be a postgresql:// URL."),
        ("postgresql://a@127.0.0.1/x", "USER_DATABASE_URL has no password; it must be postgresql://"),
        ("postgresql://127.0.0.1/x", "USER_DATABASE_URL has no role; it must be postgresql://"),
        ("postgresql://a:b@127.0.0.1", "USER_DATABASE_URL has no database; it must be postgresql://"),
        ("postgresql://a:b#c@127.0.0.1/x", "USER_DATABASE_URL is not a valid URL; percent-encode"),
        ("postgresql://postgres:b@127.0.0.1/x", "USER_DATABASE_URL uses the role postgres again; each URL"),
    ],
)
def test_an_invalid_service_url_is_refused_before_any_change(server, url, sentence):
    assert refusal(server, USER_DATABASE_URL=url).startswith(sentence)

    assert run_sql(server, "SELECT datname FROM pg_database WHERE datname = 'x'") == []


def test_one_role_for_both_services_is_refused(server):
    chosen = urls(server, "shared", "shared")

    message = refusal(server, **(chosen | {"TASK_DATABASE_URL": chosen["USER_DATABASE_URL"]}))

    assert message == "TASK_DATABASE_URL uses the role user_shared again; each URL needs a different role."


def test_an_owner_in_another_database_is_refused(server):
    chosen = urls(server, "shared", "shared") | {"USER_OWNER_DATABASE_URL": elsewhere(server, "other", user="a:b")}

    message = refusal(server, **chosen)

    assert message == "USER_OWNER_DATABASE_URL must name the same database as USER_DATABASE_URL, shared."


def test_an_unreachable_server_or_failed_login_is_reported(server):
    (port,) = free_ports(1)
    assert refusal(f"postgresql://me:x@127.0.0.1:{port}/x").endswith(f"port {port} failed: Connection refused.")

    message = refusal(elsewhere(server, "postgres", user="postgres:wrong"))

    assert message.endswith('password authentication failed for user "postgres".')


def test_an_old_server_is_refused():
    with pytest.raises(provision.CannotProvision, match=r"^PostgreSQL 15 or newer is required; this is 14\.9\.$"):
        provision.check_server_version(140_009)

    provision.check_server_version(150_000)


@pytest.mark.parametrize(
    ("rights", "complaint"),
    [("NOCREATEROLE", "permission denied to create role"), ("CREATEROLE", "permission denied for database tenanted")],
)
def test_missing_privileges_are_named(server, rights, complaint):
    name = f"guest_{rights.lower()}"
    run_sql(server, f"CREATE ROLE {name} LOGIN {rights} PASSWORD 'only-for-this-run'")
    if not run_sql(server, "SELECT datname FROM pg_database WHERE datname = 'tenanted'"):
        run_sql(server, "CREATE DATABASE tenanted")
    owner_url = elsewhere(server, "tenanted", user=f"{name}:only-for-this-run")

    message = refusal(owner_url, **urls(owner_url, "tenanted", name))

    assert message == f"{complaint}; {provision.RIGHTS}"
    assert refusal(owner_url, **urls(owner_url, "missing", name)).startswith("permission denied to create database; ")
