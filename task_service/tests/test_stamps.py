"""A list whose stamp is still valid is a 304 without a query of tasks; every change makes the stamp invalid."""

import re
from datetime import date

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import chassis
from directory.models import Feed, User
from tasks import stamps
from tasks.models import Activity, Task
from tests.conftest import TASKS, task_url, uncommitted_change

pytestmark = pytest.mark.django_db(transaction=True)

BOARD = f"{TASKS}?status=todo&page_size=50"


def poll(person, tag, url=BOARD):
    """Return the response and whether it took a query of tasks."""
    with CaptureQueriesContext(connection) as captured:
        answer = person.get(url, headers={"If-None-Match": tag})
    return answer, any('FROM "tasks_task"' in query["sql"] for query in captured)


def is_unchanged(person, tag, url=BOARD):
    """Return whether a poll is answered from the stamp alone."""
    answer, took_a_query = poll(person, tag, url)
    assert (answer.status_code == 304) or took_a_query
    return answer.status_code == 304 and not took_a_query


@pytest.fixture
def task(ada, alice):
    return Task.objects.get(pk=ada.post(TASKS, {"title": "Water the plants", "assigned_to": alice.id}).json()["id"])


@pytest.fixture
def tag(ada, task):
    return ada.get(BOARD)["ETag"]


def test_a_poll_of_an_unchanged_list_queries_no_tasks(ada, tag):
    for header in (tag, f'"x", {tag}', tag.removeprefix("W/")):
        answer, took_a_query = poll(ada, header)

        assert (answer.status_code, answer.content) == (304, b"")
        assert (took_a_query, answer["ETag"]) == (False, tag)


def test_a_poll_of_an_empty_list_has_a_stamp_from_the_second_on(ada):
    first = ada.get(BOARD)["ETag"]
    second, took_a_query = poll(ada, first)

    assert (second.status_code, took_a_query) == (304, True)
    assert is_unchanged(ada, second["ETag"])
    ada.post(TASKS, {"title": "Weed"})
    assert poll(ada, second["ETag"])[0].status_code == 200


@pytest.mark.parametrize("query", ["", "priority=normal"])
def test_a_summary_has_a_stamp(ada, query):
    url = f"{TASKS}summary/?{query}"
    tag = ada.get(url)["ETag"]

    assert is_unchanged(ada, tag, url)
    ada.post(TASKS, {"title": "Weed"})
    assert poll(ada, tag, url)[0].status_code == 200


CHANGES = {
    "create": ("post", TASKS, {"title": "Weed"}),
    "rename": ("patch", "{task}", {"title": "Weed"}),
    "complete": ("patch", "{task}", {"status": "completed"}),
    "unassign": ("patch", "{task}", {"assigned_to": None}),
    "delete": ("delete", "{task}", None),
    "bulk": ("post", f"{TASKS}bulk/", {"ids": ["{id}"], "set": {"priority": "high"}}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(ada, alice, task, tag, name):
    method, path, body = CHANGES[name]
    if name == "bulk":
        body = body | {"ids": [task.pk]}
    seen_by_alice = alice.get(BOARD)["ETag"]

    assert getattr(ada, method)(path.format(task=task_url(task)), body).status_code < 300

    for person, seen in ((ada, tag), (alice, seen_by_alice)):
        answer, took_a_query = poll(person, seen)
        changed = name != "create" or person is ada
        assert (answer.status_code, took_a_query) == (200 if changed else 304, True)
        assert is_unchanged(person, answer["ETag"])


def test_a_change_with_a_lower_id_that_commits_later_is_seen(ada, task):
    with uncommitted_change([task], by=ada, title="Late"):
        ada.post(TASKS, {"title": "Committed earlier"})
        tag = ada.get(BOARD)["ETag"]
        assert is_unchanged(ada, tag)

    answer, _ = poll(ada, tag)
    assert (answer.status_code, "Late" in answer.content.decode()) == (200, True)
    assert is_unchanged(ada, answer["ETag"])


def rename_by_feed(alice):
    User.objects.filter(pk=alice.id).update(username="alison")
    Feed.objects.update(position=2000)


OTHER_CAUSES = {
    "username": lambda alice, patch, settings: rename_by_feed(alice),
    "day": lambda alice, patch, settings: patch.setattr(stamps.timezone, "localdate", lambda: date(2100, 1, 1)),
    "version": lambda alice, patch, settings: patch.setattr(chassis, "__version__", "0"),
    "PUBLIC_URL": lambda alice, patch, settings: setattr(settings, "PUBLIC_URL", "https://tm.example"),
    "DUE_SOON_DAYS": lambda alice, patch, settings: setattr(settings, "DUE_SOON_DAYS", 7),
    "SECRET_KEY": lambda alice, patch, settings: setattr(settings, "SECRET_KEY", "k" * 50),
}


@pytest.mark.parametrize("cause", OTHER_CAUSES)
def test_what_else_the_list_depends_on_is_seen(ada, alice, tag, monkeypatch, settings, cause):
    OTHER_CAUSES[cause](alice, monkeypatch, settings)

    assert not is_unchanged(ada, tag)


def test_a_tag_is_valid_for_one_caller_and_url(ada, grace, alice, tag):
    for person, url in ((grace, BOARD), (alice, BOARD), (ada, TASKS), (ada, f"{BOARD}&ordering=id")):
        assert not is_unchanged(person, tag, url)


@pytest.mark.parametrize("query", ["search=plants", "assigned_to=alice", "assigned_to=me,alice", "created_by=ada"])
def test_searches_and_filters_by_username_have_no_stamp(ada, task, query):
    tag = ada.get(f"{TASKS}?{query}")["ETag"]

    assert re.fullmatch(r'W/"[0-9a-f]{12}"', tag)
    answer, took_a_query = poll(ada, tag, f"{TASKS}?{query}")
    assert (answer.status_code, took_a_query) == (304, True)


@pytest.mark.parametrize("made_up", ["0.0", "9" * 18 + ".0", "1.999"])
def test_a_made_up_stamp_is_no_error(ada, tag, made_up):
    start, _, _ = tag.partition(".")

    answer, _ = poll(ada, f'{start}.{made_up}"')

    assert answer.status_code == 304  # the digest of the content is right


def test_a_list_has_no_stamp_while_many_changes_are_recent(ada, task, monkeypatch):
    monkeypatch.setattr(stamps, "MAX_ENTRIES", 1)
    with uncommitted_change([task], by=ada, title="Waiting"):
        for _ in range(2):
            ada.post(TASKS, {"title": "Weed"})
        tag = ada.get(BOARD)["ETag"]

    assert re.fullmatch(r'W/"[0-9a-f]{12}"', tag)


def test_entries_of_a_restored_backup_are_not_counted(ada, task):
    entry = {"task": task, "version": 1, "kind": "created", "at": task.created_at}
    restored = [Activity(**entry, transaction_id=2**60 + number) for number in range(stamps.MAX_ENTRIES + 1)]
    Activity.objects.bulk_create(restored)

    assert is_unchanged(ada, ada.get(BOARD)["ETag"])
