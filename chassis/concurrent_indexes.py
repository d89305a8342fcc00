"""Indexes of large tables, built by a migration while the tables are being changed."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation
from django.db.models import Index


def build(model: str, *indexes: Index) -> list[Operation]:
    """Return the operations of a migration that has `atomic = False`.

    What a run that broke off has left behind is dropped first. Building waits for open transactions, such as those of
    exports, so nothing limits the wait.
    """
    return [
        RunSQL("SET lock_timeout = 0", "RESET lock_timeout"),
        *(operation for index in indexes for operation in rebuild(model, index)),
        RunSQL("RESET lock_timeout", "SET lock_timeout = 0"),
    ]


def rebuild(model: str, index: Index) -> list[Operation]:
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"
    return [RunSQL(drop, RunSQL.noop), AddIndexConcurrently(model, index)]
