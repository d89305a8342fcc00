"""The two database roles of a service: an owner, which migrates, and one that serves and may only read and write rows.

Where no owner is set, the role that serves owns the schema and migrates.
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
from chassis.time_limits import OWNERS_TIME_LIMITS, TIME_LIMITS

# A migration may take long, and may not wait long for a lock: it would stop all who come after it.
MIGRATING = " ".join(f"-c {name}={value}" for name, value in OWNERS_TIME_LIMITS.items())
REFUSED_BY_POOLER = "unsupported startup parameter"
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
    if not (env.raw_value("OWNER_DATABASE_URL") or env.raw_value(for_both)):
        return None
    entry = env.database("OWNER_DATABASE_URL", for_both)
    return {name: entry[name] for name in PLACE}


@contextmanager
def as_owner() -> Iterator[str | None]:
    """Connect to migrate: as the owner, if one is set. Give the name of the role that serves, if it is another.

    These connections go to PostgreSQL itself, since a pooler takes no settings from its clients.
    """
    entry, serving = owner() or {}, {name: connection.settings_dict[name] for name in (*PLACE, "OPTIONS")}
    connection.close()
    connection.settings_dict.update(entry, OPTIONS=serving["OPTIONS"] | {"options": MIGRATING})
    try:
        yield serving["USER"] if entry.get("USER", serving["USER"]) != serving["USER"] else None
    finally:
        connection.close()
        connection.settings_dict.update(serving)


def reject_pooler(error: OperationalError) -> None:
    """Raise CommandError where a connection that migrates was refused by a pooler."""
    if REFUSED_BY_POOLER in str(error):
        remedy = "set OWNER_DATABASE_URL to the address of PostgreSQL itself"
        raise CommandError(f"Migrations do not go through a connection pooler such as PgBouncer; {remedy}.") from error


def limit_time() -> None:
    """Give the role that serves the time limits that it has not got. It may do so itself."""
    with connection.cursor() as cursor:
        for name, value in TIME_LIMITS.items():
            cursor.execute(LIMIT, {"name": name, "value": value})


LIMIT = """
    DO $$ BEGIN IF current_setting(%(name)s) = '0' THEN
        EXECUTE format('ALTER ROLE %%I IN DATABASE %%I SET %%I = %%L',
            current_user, current_database(), %(name)s, %(value)s);
    END IF; END $$
"""


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
