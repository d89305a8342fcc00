"""The two database roles of a service: the owner migrates; the serving role may only read and write rows.

Without an owner, the serving role owns the schema and migrates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import OperationalError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from chassis.ops import env
from chassis.time_limits import OWNER_TIME_LIMITS, TIME_LIMITS

# A migration may run long but not wait long for a lock, because its request blocks later ones.
OWNER_OPTIONS = " ".join(f"-c {name}={value}" for name, value in OWNER_TIME_LIMITS.items())
POOLER_ERROR = "unsupported startup parameter"
CONNECTION_SETTINGS = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
GRANTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    # So that the running version can use tables of the next migration at once.
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role}",
)


def owner() -> dict[str, Any] | None:
    """Return the connection settings of the owner, if set."""
    for_both = f"{settings.SERVICE.partition('_')[0].upper()}_OWNER_DATABASE_URL"  # if both services read one .env
    if not (env.raw_value("OWNER_DATABASE_URL") or env.raw_value(for_both)):
        return None
    entry = env.database("OWNER_DATABASE_URL", for_both)
    return {name: entry[name] for name in CONNECTION_SETTINGS}


@contextmanager
def as_owner() -> Iterator[str | None]:
    """Connect as the owner, if set, with the time limits of migrations. Yield the serving role if it differs.

    These connections must not go through a pooler, which accepts no settings from its clients.
    """
    entry, serving = owner() or {}, {name: connection.settings_dict[name] for name in (*CONNECTION_SETTINGS, "OPTIONS")}
    connection.close()
    connection.settings_dict.update(entry, OPTIONS=serving["OPTIONS"] | {"options": OWNER_OPTIONS})
    try:
        yield serving["USER"] if entry.get("USER", serving["USER"]) != serving["USER"] else None
    finally:
        connection.close()
        connection.settings_dict.update(serving)


def reject_pooler(error: OperationalError) -> None:
    """Raise CommandError if a connection pooler rejected the connection."""
    if POOLER_ERROR in str(error):
        remedy = "set OWNER_DATABASE_URL to the address of PostgreSQL itself"
        raise CommandError(
            f"Migrations do not work through a connection pooler such as PgBouncer; {remedy}."
        ) from error


def set_time_limits() -> None:
    """Set missing time limits of the serving role. A role may set its own."""
    with connection.cursor() as cursor:
        for name, value in TIME_LIMITS.items():
            cursor.execute(SET_TIME_LIMIT, {"name": name, "value": value})


SET_TIME_LIMIT = """
    DO $$ BEGIN IF current_setting(%(name)s) = '0' THEN
        EXECUTE format('ALTER ROLE %%I IN DATABASE %%I SET %%I = %%L',
            current_user, current_database(), %(name)s, %(value)s);
    END IF; END $$
"""


def append_only_tables() -> dict[str, str]:
    """Return the rights revoked from the serving role by table: {"accounts_auditevent": "UPDATE, DELETE"}.

    They come from `revoked_rights` of the models.
    """
    models = [model for model in apps.get_models() if hasattr(model, "revoked_rights")]
    return {model._meta.db_table: model.revoked_rights for model in models}


def grant(role: str) -> None:
    """Let the role read and write the rows of this schema, but only insert into append-only tables."""
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
