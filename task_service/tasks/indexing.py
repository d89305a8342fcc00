"""Making the search documents that are missing: of tasks from a version before, or by rules from before."""

import logging
from collections.abc import Iterator

from django.db import connection, transaction

from chassis.worker.jobs import Job
from tasks.models import Task, TaskQuerySet
from tasks.models.querysets import MAX_INDEXED_AT_ONCE
from tasks.search import RULES, document

LOOK_EVERY_SECONDS = 5
ROWS_AT_ONCE = 500
BATCHES_A_TURN = 10
STORE = """
    UPDATE tasks_task SET search_document = made.document::tsvector, search_rules = %s
    FROM unnest(%s, %s) AS made (id, document) WHERE tasks_task.id = made.id
"""

log = logging.getLogger(__name__)


def jobs() -> list[Job]:
    return [Job("search", index_missing, LOOK_EVERY_SECONDS)]


def index_missing() -> bool:
    """Index some thousand tasks, and return whether there may be more. Workers side by side take different ones."""
    done = 0
    for _ in range(BATCHES_A_TURN):
        made = index(Task.objects.not_indexed().order_by("pk"), skip_locked=True)
        done += len(made)
        if not made:
            break
    if done:
        log.info("indexed %d tasks for search, %d are left", done, Task.objects.not_indexed().count())
    return done > 0


def index_all() -> Iterator[int]:
    """Index every task again, in the order of their ids; yield how many are done."""
    done = last = 0
    while made := index(Task.objects.filter(pk__gt=last).order_by("pk"), skip_locked=False):
        done, last = done + len(made), made[-1]
        yield done


def index(tasks: TaskQuerySet, *, skip_locked: bool) -> list[int]:
    """Index the first of these, as many as are done in a moment, and return their ids.

    The rows are locked meanwhile: a text that changed in between would be lost to search.
    """
    ids, documents, size = [], [], 0
    with transaction.atomic(), connection.cursor() as cursor:
        locked = tasks.select_for_update(skip_locked=skip_locked, no_key=True)
        for id_, title, description in locked.values_list("pk", "title", "description")[:ROWS_AT_ONCE]:
            ids.append(id_)
            documents.append(document(title, description))
            size += len(title) + len(description)
            if size > MAX_INDEXED_AT_ONCE:
                break
        if ids:
            cursor.execute(STORE, [RULES, ids, documents])
    return ids
