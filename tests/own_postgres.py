"""A PostgreSQL that belongs to no stack."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg2

from stack import postgres
from stack.test import throwaway_postgres
from tests.local_stack import new_folder


@contextmanager
def own_postgres() -> Iterator[str]:
    """Run a cluster and yield its superuser URL."""
    folder = new_folder()
    try:
        with throwaway_postgres(folder) as urls:
            one_of_them = urlsplit(urls["chassis"])
            yield postgres.owner_url(one_of_them.password, port=one_of_them.port)
    finally:
        shutil.rmtree(folder)


def run_sql(url: str, *statements: str) -> list[tuple]:
    """Run statements, each in its own transaction, and return the rows of the last."""
    connection = psycopg2.connect(url)
    connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()
