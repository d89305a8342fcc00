"""The directory: reading accounts, checking assignees, and the effects of a deletion."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest
from django.db import connection, transaction

from chassis.testing.threads import in_own_connection, wait_for_lock_waiter
from directory import client, feed
from directory.models import Feed, User
from directory.person import Person
from directory.signals import users_deleted
from tasks.models import Activity, Task
from tests.conftest import Person as Caller
from tests.conftest import add_to_directory, set_feed_age, stored_accounts, usernames, wait_until

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

LIST, BULK = "/task/tasks/", "/task/tasks/bulk/"


def path(task):
    return f"{LIST}{task.pk}/"


def assign(by, person):
    return by.post(LIST, {"title": "Water the plants", "assigned_to": person.id})


def status_and_errors(answer):
    return answer.status_code, [(error["field"], error["code"]) for error in answer.json()["errors"]]


def deleted(*people, position=1001):
    """Return their deletions as the feed has them."""
    return [Person.deleted(person.id, position + number) for number, person in enumerate(people)]


def pull(**age):
    set_feed_age(**age or {"seconds_ago": 3})
    feed.pull_by_worker()


# Reading


def test_reading_a_page_again_changes_nothing(ada, alice, bob, create_task, user_service):
    task = create_task(assigned_to=bob.id)
    user_service.change(alice, username="alicia")
    user_service.delete(bob)
    pull()
    before, activity = stored_accounts(), ada.get(f"{path(task)}activity/").json()

    Feed.objects.update(position=0)
    pull()

    assert user_service.pulls == [1000, 0]
    assert stored_accounts() == before
    assert ada.get(path(task)).json()["version"] == 2
    assert ada.get(f"{path(task)}activity/").json() == activity


def test_the_order_of_pages_does_not_matter(alice, bob, user_service):
    user_service.change(alice, is_active=False)
    user_service.change(bob, username="robert")
    early = client.changes(1000, seconds=60).people
    user_service.change(alice, username="alicia", is_active=True)
    user_service.delete(bob)
    late = client.changes(1000, seconds=60).people

    User.objects.upsert(late)
    known = stored_accounts()
    User.objects.upsert(early)
    User.objects.upsert([Person.from_row(user_service.people[alice.id] | {"username": "of the same position"})])
    User.objects.upsert([Person(**User.objects.values().get(pk=103) | {"is_deleted": False, "position": 2000})])

    assert stored_accounts() == known
    assert User.objects.get(pk=bob.id).is_deleted
    assert usernames()[alice.id] == "alicia"


@COMMITTING
def test_a_late_page_does_not_overwrite_newer_state(alice, bob, charlie, user_service, at_once):
    asked, may_answer = Event(), Event()

    def answer_late(call):
        page = user_service.feed_after(call.after)
        asked.set()
        may_answer.wait(50)
        call.answer(page)

    def overtake():
        asked.wait(50)
        user_service.change(alice, username="alicia")
        user_service.delete(bob)
        pull()
        known = stored_accounts()
        may_answer.set()
        return known

    user_service.reactions = [answer_late]
    user_service.change(alice, username="allie")
    user_service.change(bob, role="admin")
    user_service.change(charlie, username="chuck")
    set_feed_age(seconds_ago=3)

    _, known = at_once((feed.pull_if_stale,), (overtake,))

    assert stored_accounts() == known
    assert (usernames()[alice.id], Feed.objects.get().position) == ("alicia", 1005)


def test_a_page_is_applied_atomically(ada, alice, bob, newcomer, create_task, user_service, monkeypatch):
    create_task(assigned_to=bob.id)
    user_service.page_size = 2
    for person in (ada, alice, newcomer):
        user_service.change(person, username=f"{person.username}2")
    user_service.delete(bob)
    monkeypatch.setattr(users_deleted, "send", lambda *_, **__: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        pull()

    assert usernames() == {ada.id: "ada2", alice.id: "alice2", bob.id: "bob"}
    assert Feed.objects.get().position == 1002
    assert Task.objects.get().assigned_to_id == bob.id


@COMMITTING
def test_a_late_lookup_does_not_overwrite_newer_state(ada, alice, bob, user_service):
    def overtaken_by(person):
        def answer_late(call):
            rows = call.rows
            in_own_connection(lambda: User.objects.upsert([person]))
            call.answer({"results": rows})

        return answer_late

    User.objects.filter(pk=bob.id).update(is_active=False)
    user_service.add(alice, position=500, epoch=5)
    user_service.add(bob, position=500)
    inactive = Person.from_row(user_service.people[bob.id] | {"is_active": False, "position": 1002})
    user_service.reactions = [overtaken_by(*deleted(alice)), overtaken_by(inactive)]

    assert Caller(alice.id, "alice", epoch=5).get(LIST).status_code == 401
    assert status_and_errors(assign(ada, bob)) == (400, [("assigned_to", "inactive_user")])
    assert len(user_service.lookups) == 2
    assert User.objects.get(pk=alice.id).is_deleted
    assert User.objects.get(pk=bob.id).position == 1002


# Assignees


def test_an_inactive_account_is_looked_up(ada, alice, user_service):
    User.objects.filter(pk=alice.id).update(is_active=False)
    user_service.change(alice, is_active=False)
    assert status_and_errors(assign(ada, alice)) == (400, [("assigned_to", "inactive_user")])

    user_service.change(alice, is_active=True)
    assert [assign(ada, alice).status_code for _ in range(2)] == [201, 201]
    assert len(user_service.lookups) == 2
    assert User.objects.get(pk=alice.id).is_active


def test_a_deleted_account_cannot_be_assigned(ada, alice, user_service):
    User.objects.upsert(deleted(alice))

    assert status_and_errors(assign(ada, alice)) == (400, [("assigned_to", "unknown_user")])
    assert user_service.calls == []


def test_only_active_accounts_are_assigned_without_user_service(ada, alice, bob, newcomer, user_service):
    User.objects.filter(pk=alice.id).update(is_active=False)
    user_service.reaction = lambda call: call.answer(b"", status=500)

    answers = [assign(ada, person) for person in (bob, alice, newcomer)]

    assert [answer.status_code for answer in answers] == [201, 503, 503]
    assert {answer["Retry-After"] for answer in answers[1:]} == {"2"}
    assert Task.objects.get().assigned_to_id == bob.id
    assert user_service.lookups == [f"/internal/users/?ids={person.id}" for person in (alice, newcomer)]


# Deletion


def test_tasks_of_a_deleted_account_become_unassigned(ada, alice, bob, create_task, user_service):
    hers = [create_task(assigned_to=alice.id, status=status) for status in Task.Status]
    others = [create_task(assigned_to=bob.id, created_by=alice.id), create_task(), create_task(assigned_to=ada.id)]
    before = {task.pk: ada.get(path(task)).json() for task in hers + others}
    user_service.delete(alice)
    set_feed_age(seconds_ago=3)

    after = {task["id"]: task for task in ada.get(LIST).json()["results"]}

    for task in hers:
        was, now = before[task.pk], after[task.pk]
        assert now == was | {"assigned_to": None, "assignee": None, "version": 2, "updated_at": now["updated_at"]}
        assert now["updated_at"] > was["updated_at"]
        (fact,) = ada.get(f"{path(task)}activity/").json()["results"]
        change = {"kind": "unassigned", "field": "assigned_to", "from": alice.id, "to": None, "version": 2}
        reason = {"reason": "account deleted", "by": None, "at": now["updated_at"]}
        assert fact == {"id": fact["id"]} | change | reason
    assert [after[task.pk] for task in others] == [before[task.pk] for task in others]
    assert Activity.objects.count() == len(hers)
    assert alice.get(LIST).status_code == 401


def test_the_deletion_of_an_unknown_account_unassigns_tasks(create_task, newcomer):
    create_task(assigned_to=newcomer.id)

    User.objects.upsert(deleted(newcomer))

    assert Task.objects.get().assigned_to_id is None


def test_a_deleted_account_keeps_only_its_username(ada, grace):
    task = grace.post(LIST, {"title": "Water the plants"}).json()

    User.objects.upsert(deleted(grace))

    (fact,) = ada.get(f"{LIST}{task['id']}/activity/").json()["results"]
    assert fact["by"] == {"id": grace.id, "username": "grace"}
    kept = User.objects.values_list("username", "email", "role", "is_active").get(pk=grace.id)
    assert kept == ("grace", "", "user", False)


# Concurrency


@pytest.fixture
def start():
    """Return a function that starts a call in a thread with a separate connection and returns its future."""
    with ThreadPoolExecutor(4) as pool:
        yield lambda call, *arguments: pool.submit(lambda: in_own_connection(partial(call, *arguments))[0])


def waiting_for_locks():
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(query)
        return cursor.fetchone()[0]


@COMMITTING
def test_an_account_being_deleted_gets_no_tasks(ada, alice, bob, newcomer, task, start):
    add_to_directory(newcomer)
    Task.objects.update(assigned_to=None)
    calls = [
        (alice, partial(ada.post, LIST, {"title": "Feed the cat", "assigned_to": alice.id})),
        (bob, partial(ada.patch, path(task), {"assigned_to": bob.id})),
        (newcomer, partial(ada.post, BULK, {"ids": [task.pk], "set": {"assigned_to": newcomer.id}})),
    ]

    for position, (person, call) in enumerate(calls, start=1001):
        with transaction.atomic():
            User.objects.upsert(deleted(person, position=position))
            assigning = start(call)
            wait_for_lock_waiter()  # the account was still active in its check

        status, errors = status_and_errors(assigning.result())
        assert (status, [code for _, code in errors]) == (400, ["unknown_user"])

    assert list(Task.objects.values_list("pk", "assigned_to", "version")) == [(task.pk, None, 1)]


@COMMITTING
def test_a_task_assigned_before_a_deletion_becomes_unassigned(ada, alice, bob, create_task, start):
    task = create_task()
    writes = [
        (alice, partial(Task.objects.create_task, by=ada, title="Feed the cat")),
        (bob, partial(Task.objects.filter(pk=task.pk).change, by_id=ada.id)),
    ]

    for person, write in writes:
        with transaction.atomic():
            write(assigned_to_id=person.id)
            deleting = start(User.objects.upsert, deleted(person))
            wait_for_lock_waiter()
        deleting.result()

    assert set(Task.objects.values_list("version", "assigned_to")) == {(2, None), (3, None)}


@COMMITTING
def test_deletions_and_a_bulk_change_do_not_deadlock(ada, alice, bob, create_task, start):
    held, bobs, alices = (create_task(assigned_to=person.id) for person in (bob, bob, alice))

    with transaction.atomic():
        Task.objects.select_for_update().get(pk=held.pk)
        deleting = start(User.objects.upsert, deleted(alice, bob))
        wait_for_lock_waiter()
        changing = start(ada.post, BULK, {"ids": [bobs.pk, alices.pk], "set": {"title": "Feed the cat"}})
        wait_until(lambda: changing.done() or waiting_for_locks() == 2)

    deleting.result()
    assert changing.result().status_code == 200
    assert set(Task.objects.values_list("assigned_to", flat=True)) == {None}


@COMMITTING
@pytest.mark.parametrize("rounds", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_many_changes_and_deletions_leave_no_orphaned_task(ada, create_task, at_once, rounds):
    for number in range(rounds):
        one, other = (add_to_directory(Caller(200 + 2 * number + i, f"eve{number}-{i}")) for i in range(2))
        tasks = [create_task(assigned_to=person.id) for person in (one, other, other, one)]
        ids = [task.pk for task in tasks]

        *answers, _ = at_once(
            (ada.post, BULK, {"ids": ids, "set": {"title": f"Round {number}"}}),
            (ada.post, BULK, {"ids": ids[::-1], "set": {"assigned_to": one.id}}),
            (ada.patch, path(tasks[2]), {"assigned_to": one.id}),
            (assign, ada, other),
            (User.objects.upsert, deleted(one, other, position=10**6)),
        )

        assert {answer.status_code for answer in answers} <= {200, 201, 400}
        assert not Task.objects.filter(assigned_to__in=(one.id, other.id)).exists()
