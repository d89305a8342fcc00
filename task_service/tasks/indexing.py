"""Creates missing search documents: of tasks from an earlier version, or with earlier rules."""

import logging
from collections.abc import Iterator

from django.db import connection, transaction

from chassis.worker.jobs import Job
from tasks.models import Task, TaskQuerySet
from tasks.models.task import MAX_INDEXED_AT_ONCE
from tasks.search import RULES, document

INDEX_EVERY_SECONDS = 5
BATCH_SIZE = 500
BATCHES_PER_TURN = 10
STORE = """
    UPDATE tasks_task SET search_document = indexed.document::tsvector, search_rules = %s
    FROM unnest(%s, %s) AS indexed (id, document) WHERE tasks_task.id = indexed.id
"""

log = logging.getLogger(__name__)


def jobs() -> list[Job]:
    return [Job("search", index_missing, INDEX_EVERY_SECONDS)]


def index_missing() -> bool:
    """Index some thousand tasks and return whether there may be more. Concurrent workers take different tasks."""
    done = 0
    for _ in range(BATCHES_PER_TURN):
        indexed = index(Task.objects.not_indexed().order_by("pk"), skip_locked=True)
        done += len(indexed)
        if not indexed:
            break
    if done:
        log.info("indexed %d tasks for search, %d are left", done, Task.objects.not_indexed().count())
    return done > 0


def index_all() -> Iterator[int]:
    """Index all tasks again in the order of their ids; yield the number done so far."""
    done = last = 0
    while indexed := index(Task.objects.filter(pk__gt=last).order_by("pk"), skip_locked=False):
        done, last = done + len(indexed), indexed[-1]
        yield done


def index(tasks: TaskQuerySet, *, skip_locked: bool) -> list[int]:
    """Index a first batch of these tasks and return their ids.

    The rows are locked, so that no text changes between reading and indexing it.
    """
    ids, documents, size = [], [], 0
    with transaction.atomic(), connection.cursor() as cursor:
        locked = tasks.select_for_update(skip_locked=skip_locked, no_key=True)
        for id_, title, description in locked.values_list("pk", "title", "description")[:BATCH_SIZE]:
            ids.append(id_)
            documents.append(document(title, description))
            size += len(title) + len(description)
            if size > MAX_INDEXED_AT_ONCE:
                break
        if ids:
            cursor.execute(STORE, [RULES, ids, documents])
    return ids
