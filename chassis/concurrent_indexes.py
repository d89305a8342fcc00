"""Migration operations that build indexes of large tables without blocking writes."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation
from django.db.models import Index


def build(model: str, *indexes: Index) -> list[Operation]:
    """Return the operations for a migration with `atomic = False`.

    An invalid index left by an interrupted run is dropped first. The build waits for open transactions, such as
    exports, so it has no lock timeout.
    """
    return [
        RunSQL("SET lock_timeout = 0", "RESET lock_timeout"),
        *(operation for index in indexes for operation in rebuild(model, index)),
        RunSQL("RESET lock_timeout", "SET lock_timeout = 0"),
    ]


def rebuild(model: str, index: Index) -> list[Operation]:
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"
    return [RunSQL(drop, RunSQL.noop), AddIndexConcurrently(model, index)]
