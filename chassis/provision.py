"""One role and one schema for each service, in one database; neither role can read the other's tables.

python -m chassis.provision --files FOLDER     what chassis.secret_files has written there
"""

import argparse
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

ROLES = {"USER_DATABASE_URL": "user_service", "TASK_DATABASE_URL": "task_service"}


@dataclass(frozen=True, slots=True)
class Tenant:
    """A service's place in the database: the role is named like the schema it owns."""

    role: str
    password: str


def provision(owner_url: str, *, database: str, tenants: list[Tenant]) -> None:
    """Make database, roles and schemas where they are missing, and set the passwords. Run it as often as you like.

    `owner_url` is that of a superuser, in any database of the server, or of a role that may make roles and owns the
    database.
    """
    with connected(owner_url) as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [database])
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    with connected(owner_url, dbname=database) as cursor:
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        cursor.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for tenant in tenants:
            for statement in for_tenant(tenant, database):
                cursor.execute(statement)


@contextmanager
def connected(url: str, dbname: str | None = None) -> Iterator[Any]:
    """Connect, in autocommit since CREATE DATABASE allows no transaction, and give a cursor."""
    connection = psycopg2.connect(url, dbname=dbname) if dbname else psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def for_tenant(tenant: Tenant, database: str) -> list[sql.Composable]:
    names = {"role": sql.Identifier(tenant.role), "database": sql.Identifier(database)}
    password, literal = sql.Literal(tenant.password), sql.Literal(tenant.role)
    return [
        sql.SQL(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) "
            "THEN CREATE ROLE {role}; END IF; END $$"
        ).format(literal=literal, **names),
        sql.SQL("ALTER ROLE {role} LOGIN PASSWORD {password}").format(password=password, **names),
        # Who is no superuser may make a schema for a role only as a member of it.
        sql.SQL(
            "DO $$ BEGIN IF NOT pg_has_role(current_user, {literal}, 'SET') THEN GRANT {role} TO CURRENT_USER; END IF; "
            "END $$"
        ).format(literal=literal, **names),
        sql.SQL("GRANT CONNECT ON DATABASE {database} TO {role}").format(**names),
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {role}").format(**names),
        sql.SQL("ALTER ROLE {role} IN DATABASE {database} SET search_path = {role}").format(**names),
        # Also for who works with it by hand: a transaction that is left open keeps its locks.
        sql.SQL("ALTER ROLE {role} IN DATABASE {database} SET idle_in_transaction_session_timeout = '60s'").format(
            **names
        ),
    ]


def urls_of(owner_url: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the URL of each service: as given, or in the owner's database with a password that is made up."""
    owner = urlsplit(owner_url)
    place = owner.netloc.rpartition("@")[2]

    def made_up(role: str) -> str:
        return urlunsplit(owner._replace(netloc=f"{role}:{secrets.token_urlsafe(32)}@{place}"))

    return {name: given.get(name) or made_up(role) for name, role in ROLES.items()}


def provision_urls(owner_url: str, urls: Mapping[str, str]) -> None:
    """Make the roles that the URLs of the services name, in the database that they name."""
    parts = [urlsplit(url) for url in urls.values()]
    (database,) = {part.path.removeprefix("/") for part in parts}
    provision(
        owner_url,
        database=database,
        tenants=[Tenant(unquote(p.username or ""), unquote(p.password or "")) for p in parts],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="chassis.provision", description="Make roles and schemas of both services.")
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", required=True, help="the folder of chassis.secret_files"
    )
    folder = parser.parse_args().files
    urls = {name: (folder / name / "DATABASE_URL").read_text() for name in ("user", "task")}
    provision_urls((folder / "database" / "OWNER_URL").read_text(), urls)


if __name__ == "__main__":
    main()
