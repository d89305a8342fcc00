"""Query plans with 100,000 tasks: by index, reading few rows more than are returned."""

from datetime import timedelta
from itertools import product
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks import search_page
from tasks.search import RULES

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"
ROWS = 100_000
READ = 21  # the rows of a page, and one more to know whether another page follows
MAX_COUNT = 10_001  # by the summary
ALICES = ROWS // 200  # enough that sorting them all would show, and few enough that scanning the others would
FEW = ALICES // 2
COLUMNS = ["due_date", "created_at", "updated_at", "completed_at", "priority", "id"]
ORDERINGS = [sign + column for column in COLUMNS for sign in ("", "-")]
TODAY = timezone.localdate()

FILL_DIRECTORY = """
    INSERT INTO directory_user
    SELECT n, 'user' || n, '', 'user', true, false, 0, 0, n FROM generate_series(1001, 6000) AS n
"""
# Two years of tasks: 70 % are completed, 20 % have no due date, 15 % are unassigned, alice has one in 200, and 200
# others have the rest, unevenly; ada created nearly all, grace a few. The random numbers are the same every time.
FILL_TASKS = r"""
    SELECT setseed(0.5);
    INSERT INTO tasks_task (id, title, description, status, priority, due_date, assigned_to, created_by, created_at,
                            updated_at, completed_at, version)
    SELECT
        n,
        'Water plant' || floor(2000 * a ^ 3)
            || CASE WHEN g < 0.2 THEN ' weekly' ELSE '' END
            || CASE WHEN n %% 5000 = 7 THEN ' orchid' ELSE '' END
            || CASE WHEN c >= 0.8 AND n %% 50 = 0 THEN ' someday' ELSE '' END,
        'in room' || floor(2000 * b ^ 3) || ' next to plant' || floor(2000 * f ^ 3),
        status,
        CASE WHEN b < 0.02 THEN 4 WHEN b < 0.15 THEN 3 WHEN b < 0.85 THEN 2 ELSE 1 END,
        CASE WHEN c < 0.8 THEN %(today)s - 365 + floor(730 * c / 0.8)::int END,
        CASE WHEN d >= 0.995 THEN 102 WHEN d >= 0.15 THEN 1001 + floor(200 * ((d - 0.15) / 0.845) ^ 2) END,
        CASE WHEN n %% 5000 = 9 THEN 109 ELSE 101 END,
        created_at,
        updated_at,
        CASE WHEN status = 'completed' THEN updated_at END,
        1
    FROM (
        SELECT *,
            created_at + (%(today)s - created_at) * e ^ 4 AS updated_at,
            CASE WHEN f < 0.7 THEN 'completed' WHEN f < 0.9 THEN 'todo' ELSE 'in_progress' END AS status
        FROM (
            SELECT n, %(today)s - interval '2 years' * (1 - n / %(rows)s::float) AS created_at, random() AS a,
                random() AS b, random() AS c, random() AS d, random() AS e, random() AS f, random() AS g
            FROM generate_series(1, %(rows)s) AS n
        ) AS drawn
    ) AS task;
    UPDATE tasks_task SET search_rules = %(rules)s, search_document = (
        regexp_replace(lower(title), '\S+', 'T\&', 'g') || ' ' || regexp_replace(description, '\S+', 'D\&', 'g')
    )::tsvector;
"""
FILL_ACTIVITY = """
    INSERT INTO tasks_activity (task_id, version, kind, field, reason, by_id, at)
    SELECT task, n, 'changed', 'title', '', 1000 + n, now()
    FROM generate_series(1, 500) AS task, generate_series(1, 30) AS n
"""
# One notification per task: one in ten to alice, mostly of tasks that she cannot see; the others to the assignee.
FILL_INBOXES = """
    INSERT INTO notifications_event (id, kind, task_id, task_title, text, created_at)
    SELECT n, 'task_assigned', n, 'Water', 'Water', now() FROM generate_series(1, %(rows)s) AS n;
    ANALYZE notifications_event;  -- else each new reference may be checked by a plan made for an empty table
    INSERT INTO notifications_notification (event_id, recipient_id)
    SELECT n, CASE WHEN n %% 10 = 0 OR assigned_to = 102 THEN 102 ELSE coalesce(assigned_to, 101) END
    FROM generate_series(1, %(rows)s) AS n JOIN tasks_task ON id = n
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'tasks_task' AND indexname <> 'tasks_task_pkey'"
TABLES = "tasks_task, tasks_activity, directory_user, notifications_event, notifications_notification"
EMPTY = f"TRUNCATE {TABLES}, notifications_delivery RESTART IDENTITY"


def fill(cursor):
    """Create the rows before their indexes, which takes half as long."""
    cursor.execute(INDEXES)
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    cursor.execute(FILL_DIRECTORY)
    cursor.execute(FILL_TASKS, {"rows": ROWS, "today": TODAY, "rules": RULES})
    cursor.execute(FILL_ACTIVITY)
    cursor.execute(FILL_INBOXES, {"rows": ROWS})
    for _, definition in indexes:
        cursor.execute(definition)


@pytest.fixture(scope="module", autouse=True)
def many_tasks(django_db_setup, django_db_blocker):
    """Committed, since VACUUM cannot run in a transaction, and index-only scans need VACUUM."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        with transaction.atomic():
            fill(cursor)
        cursor.execute(f"VACUUM (ANALYZE) {TABLES}")
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(EMPTY)


class Plan:
    """The plans of some statements."""

    def __init__(self, *statements):
        self.nodes = [node for sql in statements for node in with_children(explained(sql))]

    def __repr__(self):
        return f"<Plan: {', '.join(described(node) for node in self.nodes)}>"

    def scans(self, table):
        return [node for node in self.nodes if node.get("Relation Name") == table]

    def rows(self, table):
        """Return how many rows of the table were read, whether returned or not."""
        return sum(rows_read(scan) for scan in self.scans(table))


def assert_reads(plan, table="tasks_task", *, at_most, at_least=0):
    """Check the number of rows that were read from the table, and that indexes alone were used."""
    assert "Seq Scan" not in {scan["Node Type"] for scan in plan.scans(table)}
    assert at_least <= plan.rows(table) <= at_most


def explained(sql):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, FORMAT JSON) {sql}")
        return cursor.fetchone()[0][0]["Plan"]


def with_children(node):
    yield node
    for child in node.get("Plans", ()):
        yield from with_children(child)


def rows_read(scan):
    dropped = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
    return (scan["Actual Rows"] + dropped) * scan["Actual Loops"]


def described(node):
    return f"{node['Node Type']} of {node.get('Index Name') or node.get('Relation Name')}: {rows_read(node):.0f} rows"


def read(person, url, table="tasks_task"):
    """Return a response, and the plan of its statements on the table."""
    with CaptureQueriesContext(connection) as captured:
        answer = person.get(url)
    assert answer.status_code == 200, answer.content
    return answer.json(), Plan(*(query["sql"] for query in captured if f'FROM "{table}"' in query["sql"]))


def cursor_after(person, query):
    """Return the cursor after the first page. It works for lists with other filters too."""
    following = person.get(f"{TASKS}?{query}").json()["next"]
    return parse_qs(urlsplit(following).query)["cursor"][0]


@pytest.fixture
def person(request, ada, alice):
    return {"ada": ada, "alice": alice}[request.param]


as_admin_and_user = pytest.mark.parametrize("person", ["ada", "alice"], indirect=True)


# An ordering, and tasks far from both ends of it: the 50th of about 110 that are due today, or those without a value.
PAGES = [(ordering, "due_date={today}&page_size=50") for ordering in ORDERINGS]
PAGES += [(ordering, "status=todo&due_date={today}&page_size=5") for ordering in ("completed_at", "-completed_at")]
PAGES += [(ordering, "search=someday&page_size=100") for ordering in ("due_date", "-due_date")]


@as_admin_and_user
@pytest.mark.parametrize(("ordering", "middle"), PAGES)
def test_a_page_reads_only_its_rows_at_any_depth(ada, person, ordering, middle):
    cursor = cursor_after(ada, f"ordering={ordering}&{middle.format(today=TODAY)}")

    _, first = read(person, f"{TASKS}?ordering={ordering}")
    page, deep = read(person, f"{TASKS}?ordering={ordering}&cursor={cursor}")
    _, back = read(person, page["previous"])

    for plan in (first, deep, back):
        # Twice if tasks with and without a due date are read.
        assert_reads(plan, at_least=READ, at_most=2 * READ)


# Of this many tasks, a filter keeps one.
FILTERS = {"status=todo": 5, "status=in_progress": 10, "status=completed": 1.5, "status=todo,in_progress": 3.3}
FILTERS |= {"due_date={today}": 900, "due_date_after={today}": 2.5, "due_date_before={today}": 2.5}
FILTERS |= {"due_date_after={today}&due_date_before={in_a_week}": 110, "due_date=none": 5}
FILTERS |= {"due_soon=true": 1500, "due_soon=false": 1, "overdue=true": 8, "overdue=false": 1.2}
FILTERS |= {"assigned_to=1150": 450, "assigned_to=me": 200, "assigned_to=none": 6.7}
FILTERS |= {"assigned_to=1001,user1002": 12, "assigned_to=none,1150": 6.6}
FILTERS |= {"created_by=101": 1, "created_by=grace": 5000, "created_by=grace&status=completed": 7100}
FILTERS |= {"completed_after={today}": 100_000, "priority=normal": 1.5, "priority=urgent": 50}
FILTERS |= {"search=weekly": 5, "search=weekly&status=todo": 25, "search=orchid": 5000}
FILTERS |= {"search=orchid&status=todo": 25_000, "status=todo&assigned_to=1150": 2250}
FILTERS |= {
    "status=todo&assigned_to=none": 33,
    "overdue=true&assigned_to=me": 1600,
    "overdue=true&assigned_to=none": 53,
}


@as_admin_and_user
@pytest.mark.parametrize("filters", FILTERS)
def test_a_filter_reads_few_other_rows(ada, grace, person, filters):
    """Either the index of the ordering is scanned until the page is full, or all filtered tasks are sorted."""
    middle = cursor_after(ada, f"due_date={TODAY}&page_size=50")
    one_in = FILTERS[filters]
    own = ROWS if person is ada else ALICES

    query = filters.format(today=TODAY, in_a_week=TODAY + timedelta(days=7))
    orderings = ("-created_at", "due_date", f"-created_at&cursor={middle}")
    plans = [read(person, f"{TASKS}?{query}&ordering={ordering}")[1] for ordering in orderings]

    for plan in plans:
        assert_reads(plan, at_most=max(FEW, 4 * min(READ * one_in, own / one_in)))


@as_admin_and_user
@pytest.mark.parametrize(
    "query", ["completed_after={}&ordering=completed_at", "completed_before={}&ordering=-completed_at"]
)
def test_completion_dates_use_an_index_range(person, query):
    page, plan = read(person, f"{TASKS}?{query.format(TODAY - timedelta(days=30))}")

    assert len(page["results"]) == 20
    assert_reads(plan, at_most=2 * READ)


@as_admin_and_user
@pytest.mark.parametrize("text", ["weekly", "week", "orchid", "water weekly", "water -weekly", "none"])
def test_every_search_rank_uses_indexes(person, text):
    page, first = read(person, f"{TASKS}?search={text}&page_size=5")
    plans = [first] if page["next"] is None else [first, read(person, page["next"])[1]]

    for plan in plans:
        assert_reads(plan, at_most=ROWS // 20)


def test_few_entries_wait_to_be_inserted_into_the_word_index():
    """Each search reads all of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'task_found_by_word'")
        assert cursor.fetchone() == (["gin_pending_list_limit=128"],)


@pytest.mark.parametrize("text", ["orchid", "orchi", "orchid someday"])
def test_rare_words_use_the_word_index(ada, text):
    _, plan = read(ada, f"{TASKS}?search={text}")

    assert "task_found_by_word" in repr(plan)


@pytest.mark.parametrize("text", ["4711", "orchid", "unicorn"])
def test_rare_and_absent_words_use_the_word_index_in_larger_tables(ada, text):
    """PostgreSQL assumes that any prefix is in 0.5 % of the tasks: more of them than of the rows of a page."""
    with connection.cursor() as cursor:
        statistics = ["schemaname", "relname", "tasks_task", "reltuples", 30.0 * ROWS]
        cursor.execute("SELECT pg_restore_relation_stats(%s, current_schema()::text, %s, %s, %s, %s::real)", statistics)

    _, plan = read(ada, f"{TASKS}?search={text}")

    assert_reads(plan, at_most=FEW)


@pytest.fixture
def looked_at(monkeypatch):
    """Set how many tasks of a user are looked at before the word index is used."""

    def set_numbers(**values):
        for name, value in values.items():
            monkeypatch.setattr(search_page, name, value)
        search_page.search_page.cache_clear()

    yield set_numbers
    search_page.search_page.cache_clear()


@pytest.mark.parametrize("text", ["weekly", "week", "w", "unicorn"])
def test_a_search_among_few_tasks_reads_only_these(alice, text):
    """The word index would read all tasks with a common word."""
    _, plan = read(alice, f"{TASKS}?search={text}")

    assert rows_by_word(plan) == 0
    assert_reads(plan, at_least=ALICES, at_most=3 * ALICES)


def test_a_search_for_a_common_word_reads_only_the_newest_tasks(alice, looked_at):
    looked_at(NEWEST=100)
    _, plan = read(alice, f"{TASKS}?search=weekly&page_size=5")

    assert rows_by_word(plan) == 0
    assert_reads(plan, at_least=100, at_most=3 * 100)


def rows_by_word(plan):
    return sum(rows_read(node) for node in plan.nodes if node.get("Index Name") == "task_found_by_word")


def test_a_search_among_long_tasks_reads_only_their_sizes(alice, looked_at):
    looked_at(SHORT=1000)
    _, plan = read(alice, f"{TASKS}?search=unicorn")

    assert_reads(plan, at_least=ALICES // 2, at_most=ALICES)


@as_admin_and_user
@pytest.mark.parametrize("ordering", ["priority", "-priority"])
def test_sorting_by_a_common_value_reads_few_other_rows(ada, person, ordering):
    query = f"ordering={ordering}&priority=normal"
    middle = cursor_after(ada, f"{query}&due_date={TODAY}&page_size=40")

    page, deep = read(person, f"{TASKS}?{query}&cursor={middle}")
    _, back = read(person, page["previous"])

    for plan in (deep, back):
        assert READ <= plan.rows("tasks_task") <= 4 * READ


@pytest.mark.parametrize("filters", ["", "status=todo", "overdue=true", "assigned_to=none", "search=orchid"])
def test_a_summary_counts_in_indexes_up_to_its_limit(ada, filters):
    _, plan = read(ada, f"{TASKS}summary/?{filters}")

    assert_reads(plan, at_most=6 * MAX_COUNT)


COUNTED = ["", "status=todo", "status=todo,in_progress", "priority=high", "overdue=true", "due_soon=true"]
COUNTED += ["assigned_to=none", "assigned_to=me", "created_by=101", "due_date=none", "due_date_after={today}"]


@as_admin_and_user
@pytest.mark.parametrize("filters", COUNTED)
def test_a_summary_reads_indexes_and_few_tasks(person, filters):
    _, plan = read(person, f"{TASKS}summary/?{filters.format(today=TODAY)}")

    of_tasks = [scan for scan in plan.scans("tasks_task") if scan["Node Type"] != "Index Only Scan"]
    assert sum(rows_read(scan) for scan in of_tasks) <= ALICES // 5, plan


def test_a_users_summary_reads_only_visible_tasks(alice):
    answer, plan = read(alice, f"{TASKS}summary/")

    assert_reads(plan, at_least=answer["total"], at_most=6 * answer["total"])


@as_admin_and_user
def test_a_task_and_its_history_use_their_keys(person):
    task = read(person, f"{TASKS}?ordering=id")[0]["results"][0]

    _, found = read(person, f"{TASKS}{task['id']}/")
    page, history = read(person, f"{TASKS}{task['id']}/activity/", table="tasks_activity")

    assert_reads(found, at_least=1, at_most=1)
    assert len(page["results"]) == 20
    assert_reads(history, "tasks_activity", at_most=30)


@as_admin_and_user
@pytest.mark.parametrize("query", ["", "unread=true", "ordering=id"])
def test_a_mostly_hidden_inbox_uses_indexes(person, query):
    page, first = read(person, f"/task/notifications/?{query}", table="notifications_notification")
    _, second = read(person, page["next"], table="notifications_notification")

    assert len(page["results"]) == 20
    for plan, table in product((first, second), ("notifications_notification", "notifications_event", "tasks_task")):
        assert_reads(plan, table, at_most=ROWS // 10)


def test_the_caller_is_found_by_primary_key(ada):
    _, plan = read(ada, f"{TASKS}summary/?search=orchid", table="directory_user")

    assert_reads(plan, "directory_user", at_least=1, at_most=1)
