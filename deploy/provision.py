"""Create a schema and two roles per service in one database. No role can read the tables of the other service.

The owner of a schema migrates it. The serving role has the name of the schema and may read and write its rows.

python -m deploy.provision OWNER_URL          on any PostgreSQL; prints generated URLs for .env
python -m deploy.provision --files FOLDER     with the files of deploy.secret_files
"""

import argparse
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

from chassis.ops import env
from chassis.time_limits import OWNER_TIME_LIMITS, TIME_LIMITS
from chassis.versions import MIN_POSTGRESQL

ROLES = {
    "USER_DATABASE_URL": "user_service",
    "USER_OWNER_DATABASE_URL": "user_service_owner",
    "TASK_DATABASE_URL": "task_service",
    "TASK_OWNER_DATABASE_URL": "task_service_owner",
}
PAIRS = (
    ("USER_DATABASE_URL", "USER_OWNER_DATABASE_URL"),
    ("TASK_DATABASE_URL", "TASK_OWNER_DATABASE_URL"),
)
DATABASE = "tmservice"
CONNECT_SECONDS = 10
RIGHTS = (
    "OWNER_URL must be for a superuser, or for a role with CREATEROLE that owns the database and created the roles."
)


class CannotProvision(Exception):
    """The request cannot be carried out. The text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """The roles of a service: the serving role, which gives the schema its name, and the owner."""

    role: str
    password: str
    owner: str
    owner_password: str


def provision(owner_url: str, *, database: str, tenants: list[Tenant]) -> None:
    """Create the missing database, roles and schemas, and set the passwords. It is idempotent.

    `owner_url` is for a superuser, in any database of the server, or for a role that may create roles and owns the
    database.
    """
    with connected(owner_url) as cursor:
        check_server_version(cursor.connection.server_version)
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [database])
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    with connected(owner_url, dbname=database) as cursor:
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        cursor.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for tenant in tenants:
            for statement in tenant_statements(tenant, database):
                cursor.execute(statement)


@contextmanager
def connected(url: str, dbname: str | None = None) -> Iterator[Any]:
    """Connect and yield a cursor, in autocommit mode because CREATE DATABASE cannot run in a transaction."""
    connection = psycopg2.connect(url, dbname=dbname, connect_timeout=CONNECT_SECONDS)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def check_server_version(server_version: int) -> None:
    """`server_version` is in PostgreSQL's format: 150004 is 15.4."""
    major, minor = divmod(server_version, 10_000)
    if major < MIN_POSTGRESQL:
        raise CannotProvision(f"PostgreSQL {MIN_POSTGRESQL} or newer is required; this is {major}.{minor}.")


def tenant_statements(tenant: Tenant, database: str) -> list[sql.Composable]:
    names = {
        "role": sql.Identifier(tenant.role),
        "owner": sql.Identifier(tenant.owner),
        "role_name": sql.Literal(tenant.role),
    }
    return [
        *role_statements(tenant.role, tenant.password, schema=tenant.role, database=database),
        *time_limits(tenant.role, TIME_LIMITS, database=database),
        *role_statements(tenant.owner, tenant.owner_password, schema=tenant.role, database=database),
        *time_limits(tenant.owner, OWNER_TIME_LIMITS, database=database),
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {owner}").format(**names),
        sql.SQL(HAND_OVER).format(**names),
    ]


# If the serving role owned its schema. One transaction, so that it can serve before and after.
HAND_OVER = """
    DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = {role_name} AND pg_get_userbyid(nspowner) = {role_name}) THEN
        SET LOCAL lock_timeout = '2s';
        REASSIGN OWNED BY {role} TO {owner};
        GRANT USAGE ON SCHEMA {role} TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {role} TO {role};
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {role} TO {role};
    END IF; END $$
"""


def role_statements(role: str, password: str, *, schema: str, database: str) -> list[sql.Composable]:
    names = {"role": sql.Identifier(role), "schema": sql.Identifier(schema), "database": sql.Identifier(database)}
    literal = sql.Literal(role)
    return [
        sql.SQL(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) "
            "THEN CREATE ROLE {role}; END IF; END $$"
        ).format(literal=literal, **names),
        sql.SQL("ALTER ROLE {role} LOGIN PASSWORD {password}").format(password=sql.Literal(password), **names),
        # Without superuser, creating a schema for a role requires membership in it; since PostgreSQL 16, with SET ROLE.
        sql.SQL(
            "DO $$ BEGIN IF NOT pg_has_role(current_user, {literal}, "
            "CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) "
            "THEN GRANT {role} TO CURRENT_USER; END IF; END $$"
        ).format(literal=literal, **names),
        sql.SQL("GRANT CONNECT ON DATABASE {database} TO {role}").format(**names),
        sql.SQL("ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema}").format(**names),
    ]


def time_limits(role: str, limits: Mapping[str, str], *, database: str) -> Iterator[sql.Composable]:
    where = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), sql.Identifier(database))
    for name, value in limits.items():
        yield where + sql.SQL(" SET {} = {}").format(sql.Identifier(name), sql.Literal(value))


def service_urls(owner_url: str, given: Mapping[str, str], *, host: str = "") -> dict[str, str]:
    """Return the URLs of the services: the given ones, or URLs in the database of OWNER_URL with a generated password.

    If only the URL of the serving role is given, the owner gets a name derived from it, in the same database. `host` is
    the address of the server as seen by the services, if different.
    """
    owner = urlsplit(owner_url)
    place = owner.netloc.rpartition("@")[2]
    if host:  # our TLS options may not apply to the services
        owner, place = owner._replace(query=""), host
    if not place:  # a Unix socket, with peer authentication
        owner, place = owner._replace(query=""), "localhost"
    database = owner.path.removeprefix("/")
    path = f"/{DATABASE}" if database in ("", "postgres") else owner.path

    def generate_url(role: str) -> str:
        return urlunsplit(owner._replace(netloc=f"{role}:{secrets.token_urlsafe(32)}@{place}", path=path))

    def generate_owner_url(url: str) -> str:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username}_owner:{secrets.token_urlsafe(32)}@{place}"))

    urls = {name: given.get(name) or generate_url(role) for name, role in ROLES.items()}
    for serving, owning in PAIRS:
        if given.get(serving) and not given.get(owning):
            check_url(serving, given[serving])
            urls[owning] = generate_owner_url(given[serving])
    return urls


def provision_urls(owner_url: str, urls: Mapping[str, str]) -> None:
    """Create the roles in the URLs of the services, each in the database of its URL.

    Raises CannotProvision for invalid URLs before it changes anything.
    """
    check_url("OWNER_URL", owner_url)
    taken = [unquote(urlsplit(owner_url).username or "")]
    places = {}
    for name, url in urls.items():
        places[name] = parse_place(name, url)
        _, role, _ = places[name]
        if role in taken:
            raise CannotProvision(f"{name} uses the role {role} again; each URL needs a different role.")
        taken.append(role)
    for serving, owning in PAIRS:
        database, *role_login = places[serving]
        owners_database, *owner_login = places[owning]
        if database != owners_database:
            raise CannotProvision(f"{owning} must name the same database as {serving}, {database}.")
        provision(owner_url, database=database, tenants=[Tenant(*role_login, *owner_login)])


def parse_place(name: str, url: str) -> tuple[str, str, str]:
    """Return the database, role and password of a URL."""
    check_url(name, url)
    parts = urlsplit(url)
    values = {"database": parts.path.removeprefix("/"), "role": parts.username, "password": parts.password}
    if missing := [what for what, value in values.items() if not value]:
        raise CannotProvision(f"{name} has no {missing[0]}; it must be postgresql://ROLE:PASSWORD@HOST/DATABASE.")
    database, role, password = (unquote(value or "") for value in values.values())
    return database, role, password


def check_url(name: str, url: str) -> None:
    if not url.startswith(("postgres://", "postgresql://")):
        raise CannotProvision(f"{name} must be a postgresql:// URL.")
    try:
        parts = urlsplit(url)
        is_usable = not parts.fragment and parts.port != 0
    except ValueError:  # its text may contain a part of the password
        is_usable = False
    if not is_usable:
        raise CannotProvision(f"{name} is not a valid URL; percent-encode special characters in its password.")


def error_sentence(error: psycopg2.Error) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    sentence = lines[0].removesuffix(".")
    return f"{sentence}; {RIGHTS}" if isinstance(error, psycopg2.errors.InsufficientPrivilege) else f"{sentence}."


def command(prog: str) -> None:
    arguments = parse(prog)
    try:
        if arguments.files:
            provision_urls((arguments.files / "database" / "OWNER_URL").read_text(), read_urls(arguments.files))
        else:
            provision_and_print(arguments.owner_url, host=arguments.host)
    except (CannotProvision, env.SettingError) as error:
        sys.exit(f"{prog}: {error}")
    except psycopg2.Error as error:
        sys.exit(f"{prog}: {error_sentence(error)}")


def read_urls(folder: Path) -> dict[str, str]:
    """Return the URLs written by deploy.secret_files."""
    return {
        f"{name.upper()}_{setting}": (folder / place / setting).read_text()
        for name in ("user", "task")
        for place, setting in ((name, "DATABASE_URL"), (f"{name}-owner", "OWNER_DATABASE_URL"))
    }


def parse(prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Create the database, and a schema and two roles for each service, from USER_DATABASE_URL, "
        "USER_OWNER_DATABASE_URL, TASK_DATABASE_URL and TASK_OWNER_DATABASE_URL in the environment or .env; missing "
        "URLs are generated and printed.",
    )
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "owner_url", metavar="OWNER_URL", nargs="?", help="postgresql:// URL of a role that may create roles"
    )
    chosen.add_argument("--files", type=Path, metavar="FOLDER", help="the folder of deploy.secret_files")
    parser.add_argument(
        "--host",
        default="",
        metavar="HOST[:PORT]",
        help="address of the server for the services, such as in a private network",
    )
    return parser.parse_args()


def provision_and_print(owner_url: str, *, host: str) -> None:
    """Print the lines for .env, and nothing else, to standard output."""
    env.load_dotenv()
    given = {name: env.raw_value(name) for name in ROLES}
    check_url("OWNER_URL", owner_url)
    urls = service_urls(owner_url, given, host=host)
    provision_urls(owner_url, urls)
    generated = {name: url for name, url in urls.items() if not given[name]}
    print("The roles and schemas exist." + (" For .env:" if generated else ""), file=sys.stderr)
    for name, url in generated.items():
        print(f"{name}={url}")


if __name__ == "__main__":
    command("deploy.provision")
