"""The two database roles of a service: an owner, which migrates, and one that serves and may only read and write rows.

Where no owner is set, the role that serves owns the schema and migrates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from chassis import env

PLACE = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
GRANTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    # What the next migration creates, the version that is still running can use at once.
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role}",
)


def owner() -> dict[str, Any] | None:
    """Return where and as whom the owner connects, if one is set."""
    for_both = f"{settings.SERVICE.partition('_')[0].upper()}_OWNER_DATABASE_URL"  # where both services read one .env
    if not (env.given("OWNER_DATABASE_URL") or env.given(for_both)):
        return None
    entry = env.database("OWNER_DATABASE_URL", for_both)
    return {name: entry[name] for name in PLACE}


@contextmanager
def as_owner() -> Iterator[str | None]:
    """Connect as the owner in the block, if one is set; give the name of the role that serves, if it is another."""
    entry, serving = owner(), {name: connection.settings_dict[name] for name in PLACE}
    if entry is None or entry["USER"] == serving["USER"]:
        yield None
        return
    connection.close()
    connection.settings_dict.update(entry)
    try:
        yield serving["USER"]
    finally:
        connection.close()
        connection.settings_dict.update(serving)


def append_only_tables() -> dict[str, str]:
    """Return the rights on tables that the role that serves is not given: {"accounts_auditevent": "UPDATE, DELETE"}.

    A model with such a table has them in `revoked_rights`.
    """
    models = [model for model in apps.get_models() if hasattr(model, "revoked_rights")]
    return {model._meta.db_table: model.revoked_rights for model in models}


def grant(role: str) -> None:
    """Let the role read and write the rows of this schema, and only add to what is append-only."""
    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        (schema,) = cursor.fetchone()
        for statement in GRANTS:
            cursor.execute(statement.format(schema=quote(schema), role=quote(role)))
        existing = connection.introspection.table_names(cursor)
        recorder = MigrationRecorder.Migration._meta.db_table
        rights = {recorder: "INSERT, UPDATE, DELETE", **append_only_tables()}
        for table in rights.keys() & set(existing):
            cursor.execute(f"REVOKE {rights[table]} ON {quote(table)} FROM {quote(role)}")
