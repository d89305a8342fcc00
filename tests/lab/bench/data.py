"""Fills the database of a stack: tasks, their search documents, and accounts."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from typing import Any

from psycopg2.extras import execute_values

from deploy import provision
from stack.bootstrap import ROOT
from stack.console import StackError, step, wait_until
from tests.lab.client import Client
from tests.lab.scene import Scene

PASSWORD = "correct horse battery staple"
SIZES = {"10k": 10_000, "1m": 1_000_000, "10m": 10_000_000}
BATCH = 250_000
TEXTS = 5_000  # different ones; each title ends in the number of its task
PEOPLE = 1_000
FIRST_PERSON = 1_000_001  # an id that no account of the user service has
BUSY_EVERY = 50  # the busy user has every 50th task
CREATOR = FIRST_PERSON  # the creator of the tasks in the middle and near the end of the list
COMMON_WORD, ABSENT_WORD = "invoice", "zyzzyva"

VERBS = ("Check", "Order", "Write", "Send", "Renew", "Plan", "Repair", "Clean", "Review", "Cancel", "Print", "Find")
NOUNS = (
    *(
        "invoice",
        "lease",
        "report",
        "contract",
        "boiler",
        "offer",
        "calendar",
        "archive",
        "printer",
        "garden",
        "budget",
    ),
    *("lift", "newsletter", "insurance", "passport", "kitchen", "catalogue", "licence", "survey", "server"),
)
PLACES = ("Berlin", "Cork", "Delft", "Graz", "Lyon", "Oslo", "Porto", "Turin", "the cellar", "room 12", "the new shop")
SENTENCES = (
    *("Ask the landlord for the keys.", "The old one is broken.", "It must be ready before the holidays."),
    *("Two copies, one of them signed.", "Nobody has answered yet.", "The price must stay below 400 euros."),
    *("Photos are in the shared folder.", "Alice knows the details.", "Bob has done this last year."),
    *("Compare at least three suppliers.", "Call first; they are closed on Mondays.", "Use the template of May."),
    *("The address has changed.", "Wait for the approval of the board.", "Include the numbers of the first quarter."),
)

INSERT = """
    INSERT INTO tasks_task (id, title, description, status, priority, due_date, assigned_to, created_by, created_at,
                            updated_at, completed_at, version, search_document, search_rules)
    SELECT n, text.title || ' ' || n, text.description, status, 1 + (chance * 7919)::bigint %% 4,
           CASE WHEN n %% 10 > 2 THEN created_at::date + 1 + (n %% 60)::int END,
           CASE WHEN n %% %(busy_every)s = 0 THEN %(busy)s
                WHEN n %% 10 <> 1 THEN (%(people)s::bigint[])[1 + (chance * 1000003)::bigint %% %(count)s] END,
           CASE WHEN n = ANY(%(deep)s) THEN %(creator)s ELSE %(admin)s END,
           created_at, created_at, CASE WHEN status = 'completed' THEN created_at END, 1,
           (text.document || format(' ''T%%s'':%%s', n, text.words + 1))::tsvector, %(rules)s
    FROM (
        SELECT n, chance, now() - (%(last)s - n) * interval '3 years' / %(last)s AS created_at,
               CASE WHEN chance < 0.3 THEN 'todo' WHEN chance < 0.4 THEN 'in_progress' ELSE 'completed' END AS status
        FROM (SELECT n, random() AS chance FROM generate_series(%(from)s::bigint, %(to)s) AS n) AS numbered
    ) AS dated JOIN bench_text AS text ON text.id = n %% %(texts)s
"""
INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = 'tasks_task'::regclass AND NOT indisprimary ORDER BY indexrelid
"""


@dataclass(frozen=True, slots=True)
class Data:
    """What the cases need to know of the data. `owned` has some ids of tasks of each caller."""

    tasks: int
    ids: dict[str, int]
    owned: dict[str, list[int]]


def load(scene: Scene, tasks: int) -> Data:
    ids = create_accounts(scene)
    with provision.connected(scene.owner_url()) as cursor:
        cursor.execute("SET search_path = task_service; SET synchronous_commit = off; SET work_mem = '64MB'")
        cursor.execute("SET maintenance_work_mem = '512MB'; SELECT setseed(0.5)")
        add_people(cursor)
        with indexes_rebuilt(cursor):
            add_tasks(cursor, tasks, ids)
        with step("VACUUM, ANALYZE, CHECKPOINT"):
            cursor.execute("VACUUM (ANALYZE) tasks_task")
            cursor.execute("ANALYZE")
            cursor.execute("CHECKPOINT")
        check_documents(cursor)
        return Data(tasks, ids, owned(cursor, tasks, ids))


def create_accounts(scene: Scene) -> dict[str, int]:
    """Create the accounts that sign in; return the ids by caller once the directory has them."""
    admin = Client(scene.port, password=scene.admin_password(), name="bench")
    admin.sign_in()
    ids = {"admin": int(admin.retry_until_ok("GET", "/user/me/")["id"])}
    for name in ("user", "busy"):
        account = {"username": f"{name}-bench", "email": f"{name}@example.com", "password": PASSWORD}
        ids[name] = int(admin.retry_until_ok("POST", "/user/users/", account)["id"])
    known = "SELECT count(*) = 3 FROM task_service.directory_user WHERE id = ANY(%s)"
    wait_until(
        lambda: scene.execute(known, list(ids.values()))[0][0],
        seconds=60,
        message="The directory does not have the accounts.",
    )
    return ids


def add_people(cursor: Any) -> None:
    cursor.execute(
        "INSERT INTO directory_user (id, username, email, role, is_active, is_deleted, epoch, least_epoch, position) "
        "SELECT n, 'person' || n, 'person' || n || '@example.com', 'user', true, false, 0, 0, 0 "
        "FROM generate_series(%s, %s) AS n",
        [FIRST_PERSON, FIRST_PERSON + PEOPLE - 1],
    )


@contextmanager
def indexes_rebuilt(cursor: Any) -> Iterator[None]:
    """Build the indexes after the block, from their own definitions, which takes a fraction of the time."""
    cursor.execute(INDEXES)
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    with step(f"Building {len(indexes)} indexes"):
        for _, definition in indexes:
            cursor.execute(definition)


def add_tasks(cursor: Any, tasks: int, ids: dict[str, int]) -> None:
    document, rules = product_search()
    cursor.execute(
        "CREATE TEMP TABLE bench_text (id int PRIMARY KEY, title text, description text, words int, document text)"
    )
    rows = [(number, *text, len(text[0].split()), document(*text)) for number, text in enumerate(texts())]
    execute_values(cursor, "INSERT INTO bench_text VALUES %s", rows)
    others = [ids["user"], *range(FIRST_PERSON + 1, FIRST_PERSON + PEOPLE)]
    given = {
        "busy": ids["busy"],
        "admin": ids["admin"],
        "people": others,
        "count": PEOPLE,
        "rules": rules,
        "last": tasks,
    }
    given |= {"busy_every": BUSY_EVERY, "creator": CREATOR, "texts": TEXTS, "deep": deep_numbers(tasks)}
    for first in range(1, tasks + 1, BATCH):
        last = min(first + BATCH - 1, tasks)
        cursor.execute(INSERT, given | {"from": first, "to": last})
        show_progress(last, tasks)
    cursor.execute("SELECT setval(pg_get_serial_sequence('tasks_task', 'id'), %s)", [tasks])


def deep_numbers(tasks: int) -> list[int]:
    """Return two tasks in the middle and two near the end of the list, newest first."""
    return [tasks // 2, tasks // 2 - 1, 101, 100]


def texts() -> list[tuple[str, str]]:
    rng = random.Random("bench")
    titles = [f"{verb} the {noun} for {place}" for verb, noun, place in product(VERBS, NOUNS, PLACES)]
    return [(rng.choice(titles), " ".join(rng.sample(SENTENCES, rng.randint(1, 5)))) for _ in range(TEXTS)]


def product_search() -> tuple[Any, int]:
    """Return the function and the rules with which the task service indexes a task."""
    sys.path.append(str(ROOT / "task_service"))
    search = import_module("tasks.search")  # of a service, so not on the lab's path
    return search.document, search.RULES


def check_documents(cursor: Any) -> None:
    """Compare some documents built in SQL with those that the task service would store."""
    document, _ = product_search()
    cursor.execute("SELECT title, description, search_document::text FROM tasks_task ORDER BY random() LIMIT 20")
    for title, description, stored in cursor.fetchall():
        cursor.execute("SELECT %s::tsvector::text", [document(title, description)])
        if cursor.fetchone() != (stored,):
            raise StackError(f"The search document of {title!r} is not the one that the task service would store.")


def owned(cursor: Any, tasks: int, ids: dict[str, int]) -> dict[str, list[int]]:
    found = {"admin": random.Random("owned").sample(range(1, tasks + 1), 1000)}
    for name in ("user", "busy"):
        cursor.execute("SELECT id FROM tasks_task WHERE assigned_to = %s ORDER BY random() LIMIT 1000", [ids[name]])
        found[name] = [row[0] for row in cursor.fetchall()]
    return found


def show_progress(done: int, total: int) -> None:
    bar = "#" * (30 * done // total)
    end = "\n" if done == total else ""
    print(f"\r[{bar:<30}] {done:,} of {total:,} tasks", end=end, file=sys.stderr, flush=True)
