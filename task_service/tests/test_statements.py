"""The number of SQL statements per request: at most 3 to read and 13 to write, for any number of rows.

The beginning and end of a transaction or savepoint are not counted.
"""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver
from rest_framework.test import APIClient

from directory.models import User
from notifications.delivering import deliver_channel
from notifications.models import Delivery, Event, Notification
from tasks.models import Activity, Task
from tests.conftest import TASKS, Person, set_feed_age, task_url

pytestmark = pytest.mark.django_db

MAX_READ_STATEMENTS, MAX_WRITE_STATEMENTS = 3, 13
PUBLIC_ROUTES = ("task/docs/", "task/redoc/", "task/swagger.json", "task/swagger.yaml")
FILTERED = ("task/tasks/", "task/tasks/summary/", "task/tasks/export.csv")
# One of them is the check of the caller.
READS = {
    "task/notifications/": 2,
    "task/tasks/<id:task_id>/notifications/": 3,
    "task/tasks/": 2,
    "task/tasks/export.csv": 2,
    "task/tasks/summary/": 2,
    "task/tasks/<id:task_id>/": 2,
    "task/tasks/<id:task_id>/activity/": 3,
    **dict.fromkeys(PUBLIC_ROUTES, 0),
}
HEALTH_ROUTES = {"task/health/live/", "task/health/ready/", "metrics/"}
WRITE_ONLY_ROUTES = {"task/tasks/bulk/", "task/notifications/<id:notification_id>/read/"}
TRANSACTION_STATEMENTS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET CONSTRAINTS")


def statements(call, *arguments, **options):
    """Return the response, read to its end, and its number of statements."""
    with CaptureQueriesContext(connection) as captured:
        answer = call(*arguments, **options)
        if answer.streaming:
            answer.content_so_far = b"".join(answer.streaming_content)
    return answer, sum(not query["sql"].startswith(TRANSACTION_STATEMENTS) for query in captured)


def routes(resolver, before=""):
    for pattern in resolver.url_patterns:
        route = before + str(pattern.pattern)
        yield from routes(pattern, route) if hasattr(pattern, "url_patterns") else [route]


@pytest.fixture
def people(directory):
    """100 accounts, for assignees and authors of changes."""
    state = {"role": "user", "is_active": True, "is_deleted": False, "epoch": 0, "min_valid_epoch": 0, "position": 1}
    return User.objects.bulk_create(User(id=id_, username=f"user{id_}", **state) for id_ in range(201, 301))


@pytest.fixture
def add_rows(people):
    """Return a function that adds 100 tasks of 100 people and 100 changes of a task, with notifications."""

    def add(task):
        change = {"version": 2, "kind": "changed", "field": "title", "at": task.created_at}
        Activity.objects.bulk_create(Activity(task=task, by=person, **change) for person in people)
        event = {"kind": "task_assigned", "task_id": task.pk, "task_title": "Water", "text": "Water"}
        events = Event.objects.bulk_create(Event(**event) for _ in people)
        Notification.objects.bulk_create(Notification(event=event, recipient_id=101) for event in events)
        facts = zip(events, people, strict=True)
        Delivery.objects.bulk_create(Delivery(event=event, channel="email", recipient=who) for event, who in facts)
        values = {"title": "Water", "created_by": 101, "due_date": "2001-01-01"}
        return Task.objects.bulk_create(Task(assigned_to=person, **values) for person in people)

    return add


@pytest.fixture
def task(create_task, ada):
    """A task with one history entry."""
    task = create_task(assigned_to=ada.id, due_date="2001-01-01")
    Activity.objects.create(task=task, version=1, kind="created", by_id=ada.id, at=task.created_at)
    return task


def url_for(route, task):
    full_page = "?page_size=100" if route.endswith(("tasks/", "activity/", "notifications/")) else ""
    return "/" + route.replace("<id:task_id>", str(task.pk)) + full_page


def test_every_route_is_measured():
    assert set(routes(get_resolver())) == READS.keys() | WRITE_ONLY_ROUTES | HEALTH_ROUTES


@pytest.mark.parametrize("route", READS)
def test_reads_take_as_many_statements_for_any_number_of_rows(ada, task, add_rows, route):
    url = url_for(route, task)

    one, for_one = statements(ada.get, url)
    add_rows(task)
    many, for_many = statements(ada.get, url)
    head, for_the_head = statements(ada.head, url)

    assert (one.status_code, many.status_code, head.status_code) == (200, 200, 200)
    assert for_one == for_many == for_the_head == READS[route] <= MAX_READ_STATEMENTS
    if "page_size" in url:
        assert len(one.json()["results"]) < len(many.json()["results"]) == 100


def test_the_export_of_many_chunks_is_one_query_and_a_lock(ada, task, add_rows):
    for _ in range(6):
        add_rows(task)

    answer, cost = statements(ada.get, f"{TASKS}export.csv")

    assert answer.content_so_far.count(b"\r\n") == 602
    assert cost == READS["task/tasks/export.csv"] + 1


@pytest.mark.parametrize(
    ("query", "more"),
    [
        ("status=todo&priority=normal,low&due_date_after=2000-01-01&due_date_before=2002-01-01", 0),
        ("overdue=false", 0),
        ("due_soon=true&due_date=none&completed_after=2001-01-01", 0),
        ("assigned_to=me,none,102&created_by=me", 0),
        ("assigned_to=user201,user202,none,me", 1),
    ],
)
@pytest.mark.parametrize("route", FILTERED)
def test_only_a_filter_by_usernames_takes_another_statement(ada, task, add_rows, route, query, more):
    add_rows(task)

    answer, cost = statements(ada.get, f"/{route}?{query}")

    assert (answer.status_code, cost) == (200, READS[route] + more)
    assert cost <= MAX_READ_STATEMENTS


def test_a_poll_checks_the_stamp_before_it_reads_the_list(ada, task):
    tag = {"If-None-Match": ada.get(TASKS)["ETag"]}

    unchanged, polled = statements(ada.get, TASKS, headers=tag)
    ada.patch(task_url(task), {"title": "Changed"})
    changed, read = statements(ada.get, TASKS, headers=tag)

    assert (unchanged.status_code, changed.status_code) == (304, 200)
    assert (polled, read) == (2, 3)  # the caller and the stamp, then the list
    assert read <= MAX_READ_STATEMENTS


@pytest.mark.parametrize(
    ("rows", "filters", "cost"), [(20, "", 2), (21, "", 2), (20, "&status=todo", 3), (21, "&status=todo", 2)]
)
def test_only_further_ranks_of_a_search_with_filters_take_another_statement(ada, create_task, rows, filters, cost):
    for _ in range(rows):
        create_task(title="Water")
    create_task(title="Other", description="water")

    answer, taken = statements(ada.get, f"{TASKS}?search=water{filters}")

    assert (len(answer.json()["results"]), bool(answer.json()["next"])) == (20, True)
    assert taken == cost <= MAX_READ_STATEMENTS


@pytest.mark.parametrize("ordering", ["due_date&search=water&overdue=true", "-completed_at", "-priority", "id"])
def test_all_pages_take_as_many_statements_as_the_first(ada, task, add_rows, ordering):
    add_rows(task)
    first = ada.get(f"{TASKS}?ordering={ordering}").json()

    second, there = statements(ada.get, first["next"])
    _, back = statements(ada.get, second.json()["previous"])

    assert there == back == READS["task/tasks/"]


@pytest.mark.parametrize(
    ("method", "path", "status", "cost"),
    [
        ("get", f"{TASKS}{{gone}}/", 404, 2),
        ("get", f"{TASKS}{{adas}}/activity/", 404, 2),
        ("patch", f"{TASKS}{{adas}}/", 404, 2),
        ("delete", f"{TASKS}{{adas}}/", 404, 2),
        ("get", "/task/nothing/", 404, 0),
        ("get", f"{TASKS}?status=bogus", 400, 1),
        ("get", f"{TASKS}export.csv?ordering=title", 400, 1),
        ("post", TASKS, 403, 1),
        ("get", f"{TASKS}bulk/", 405, 1),
    ],
)
def test_a_rejected_request_takes_few_statements(alice, task, method, path, status, cost):
    answer, taken = statements(getattr(alice, method), path.format(adas=task.pk, gone=task.pk + 1000), {})

    assert (answer.status_code, taken) == (status, cost)


@pytest.mark.parametrize("route", [route for route in READS if route not in PUBLIC_ROUTES])
def test_an_invalid_token_takes_no_statement(charlie, task, route):
    for person in (charlie, APIClient()):
        answer, cost = statements(person.get, url_for(route, task))

        assert (answer.status_code, cost) == (401, 0)


WRITES = {
    "make": ("post", "", {"title": "Weed"}),
    "make for bob": ("post", "", {"title": "Weed", "assigned_to": 103}),
    "replace": ("put", "{id}/", {"title": "Weed", "status": "completed", "assigned_to": 103}),
    "rename": ("patch", "{id}/", {"title": "Weed"}),
    "change nothing": ("patch", "{id}/", {"status": "todo"}),
    "assign": ("patch", "{id}/", {"assigned_to": 103}),
    "unassign": ("patch", "{id}/", {"assigned_to": None}),
    "remove": ("delete", "{id}/", None),
}


@pytest.mark.parametrize(("method", "path", "body"), WRITES.values(), ids=WRITES)
def test_writes_take_as_many_statements_for_any_number_of_rows(ada, bob, create_task, add_rows, method, path, body):
    task, old = (create_task(assigned_to=ada.id) for _ in range(2))

    first, for_first = statements(getattr(ada, method), TASKS + path.format(id=task.pk), body)
    add_rows(old)
    second, for_second = statements(getattr(ada, method), TASKS + path.format(id=old.pk), body)

    assert first.status_code == second.status_code < 300
    assert for_first == for_second <= MAX_WRITE_STATEMENTS


def test_a_replay_takes_fewer_statements_than_the_first_request(ada, bob):
    body = {"title": "Weed", "assigned_to": bob.id}

    first, cost = statements(ada.post, TASKS, body, HTTP_IDEMPOTENCY_KEY="k")
    again, replayed = statements(ada.post, TASKS, body, HTTP_IDEMPOTENCY_KEY="k")

    assert (first.status_code, again.content) == (201, first.content)
    assert replayed < cost <= MAX_WRITE_STATEMENTS


def test_a_412_takes_as_many_statements_with_a_long_history(ada, task, add_rows):
    tag = ada.get(task_url(task)).headers["ETag"]
    ada.patch(task_url(task), {"title": "Weed"})

    _, for_short = statements(ada.patch, task_url(task), {"title": "Prune"}, HTTP_IF_MATCH=tag)
    add_rows(task)
    stale, for_long = statements(ada.patch, task_url(task), {"title": "Prune"}, HTTP_IF_MATCH=tag)

    assert stale.status_code == 412
    assert for_short == for_long <= MAX_WRITE_STATEMENTS


def test_a_new_caller_takes_no_more_statements_than_a_write(ada, newcomer, task):
    asked, as_caller = statements(newcomer.get, TASKS)
    User.objects.filter(pk=newcomer.id).delete()
    assigned, as_assignee = statements(ada.patch, task_url(task), {"assigned_to": newcomer.id})

    assert (asked.status_code, assigned.status_code) == (200, 200)
    assert max(as_caller, as_assignee) <= MAX_WRITE_STATEMENTS


def test_a_read_with_a_stale_feed_takes_no_more_than_a_write(ada, user_service):
    for id_ in range(501, 601):
        user_service.change(Person(id_, f"user{id_}"))
    set_feed_age(seconds_ago=3)

    answer, cost = statements(ada.get, TASKS)

    assert (answer.status_code, User.objects.filter(id__gt=500).count()) == (200, 100)
    assert cost <= MAX_WRITE_STATEMENTS


def test_a_read_of_a_deletion_takes_no_more_than_a_write(ada, bob, user_service, task, add_rows):
    add_rows(task)
    Task.objects.update(assigned_to=bob.id)
    user_service.delete(bob)
    set_feed_age(seconds_ago=3)

    answer, cost = statements(ada.get, TASKS)

    assert {each["assigned_to"] for each in answer.json()["results"]} == {None}
    assert cost <= MAX_WRITE_STATEMENTS


def test_a_new_task_is_not_read_back(ada, bob):
    with CaptureQueriesContext(connection) as captured:
        answer = ada.post(TASKS, {"title": "Weed", "assigned_to": bob.id})

    reads = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    assert answer.status_code == 201
    assert not [sql for sql in reads if "tasks_task" in sql]


def test_a_line_in_the_log_takes_three_statements(ada, task):
    ada.patch(task_url(task), {"status": "completed"})

    with CaptureQueriesContext(connection) as captured:
        sent = deliver_channel("log")

    taken = [query["sql"].split()[0] for query in captured if not query["sql"].startswith(TRANSACTION_STATEMENTS)]
    assert (sent, taken) == (1, ["WITH", "SELECT", "UPDATE", "WITH"])  # claim, event, mark; nothing more to claim


def test_a_change_is_read_stored_and_announced_in_one_statement_each(ada, task):
    with CaptureQueriesContext(connection) as captured:
        answer = ada.patch(task_url(task), {"status": "completed"})

    taken = [query["sql"].split()[0] for query in captured if not query["sql"].startswith(TRANSACTION_STATEMENTS)]
    assert (answer.status_code, taken) == (
        200,
        ["WITH", "SELECT", "WITH", "WITH"],
    )  # caller, task, change, notification
