"""One role and one schema for each service, in one database; neither role can read the other's tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql


@dataclass(frozen=True, slots=True)
class Tenant:
    """A service's place in the database: the role is named like the schema it owns."""

    role: str
    password: str


def provision(owner_url: str, *, database: str, tenants: list[Tenant]) -> None:
    """Make database, roles and schemas where they are missing, and set the passwords. Run it as often as you like.

    `owner_url` is that of a superuser, in any database of the server.
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
        sql.SQL("ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {password}").format(
            password=password, **names
        ),
        sql.SQL("GRANT CONNECT ON DATABASE {database} TO {role}").format(**names),
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {role}").format(**names),
        sql.SQL("ALTER ROLE {role} IN DATABASE {database} SET search_path = {role}").format(**names),
        # Also for who works with it by hand: a transaction that is left open keeps its locks.
        sql.SQL("ALTER ROLE {role} IN DATABASE {database} SET idle_in_transaction_session_timeout = '60s'").format(
            **names
        ),
    ]
