"""Assignees: visibility after reassignment, usernames, and assignment by username."""

import pytest

from directory.models import User
from directory.person import Person
from tests.conftest import Person as Caller

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"


def path(task):
    return f"{TASKS}{task.pk}/"


def seen_by(person, query=""):
    return {task["id"]: task["assignee"] for task in person.get(f"{TASKS}?{query}").json()["results"]}


def named(person):
    return {"id": person.id, "username": person.username}


@pytest.fixture
def task(create_task, alice):
    return create_task(assigned_to=alice.id)


def test_a_reassigned_task_moves_to_the_new_assignee(ada, alice, bob, task):
    answer = ada.patch(path(task), {"assigned_to": bob.id})

    assert (answer.status_code, answer.json()["assigned_to"], answer.json()["assignee"]) == (200, bob.id, named(bob))
    assert seen_by(ada) == seen_by(bob) == {task.pk: named(bob)}
    assert seen_by(alice) == {}
    assert (bob.get(path(task)).json(), alice.get(path(task)).status_code) == (answer.json(), 404)
    assert seen_by(ada, f"assigned_to={bob.id}") == seen_by(bob, "assigned_to=me") == {task.pk: named(bob)}
    assert seen_by(ada, f"assigned_to={alice.id}") == {}


def test_an_unassigned_task_is_visible_to_admins_only(ada, alice, bob, task):
    answer = ada.patch(path(task), {"assigned_to": None})

    assert (answer.status_code, answer.json()["assigned_to"], answer.json()["assignee"]) == (200, None, None)
    assert seen_by(ada) == seen_by(ada, "assigned_to=none") == {task.pk: None}
    assert (seen_by(alice), seen_by(bob)) == ({}, {})
    assert [who.get(path(task)).status_code for who in (ada, alice, bob)] == [200, 404, 404]


def test_an_assigned_task_becomes_visible_to_the_assignee(ada, alice, bob, create_task):
    task = create_task()
    assert seen_by(bob) == {}

    answer = ada.put(path(task), {"title": task.title, "assigned_to": bob.id})

    assert (answer.json()["assigned_to"], answer.json()["assignee"]) == (bob.id, named(bob))
    assert (seen_by(bob), seen_by(alice)) == ({task.pk: named(bob)}, {})


def test_only_the_current_assignee_sees_the_task(ada, alice, bob, task):
    for who in (bob, alice, None, bob, ada):
        answer = ada.patch(path(task), {"assigned_to": who and who.id})

        assert answer.json()["assignee"] == (who and named(who))
        assert [bool(seen_by(person)) for person in (alice, bob)] == [who is alice, who is bob]
    assert answer.json()["version"] == 6


def test_the_current_username_is_shown_everywhere(ada, alice, task):
    User.objects.filter(pk=alice.id).update(username="Alice Liddell")
    shown = {"id": alice.id, "username": "Alice Liddell"}

    assert seen_by(ada) == seen_by(alice) == {task.pk: shown}
    assert ada.get(path(task)).json()["assignee"] == shown
    assert ada.patch(path(task), {"title": "Changed"}).json()["assignee"] == shown
    bulk = ada.post(f"{TASKS}bulk/", {"ids": [task.pk], "set": {"title": "Changed again"}})
    assert bulk.json()["updated"][0]["assignee"] == shown
    assert ada.get(path(task)).json()["version"] == 3


def test_a_deactivated_assignee_keeps_tasks_and_username(ada, alice, task):
    User.objects.filter(pk=alice.id).update(is_active=False)

    assert seen_by(ada) == {task.pk: named(alice)}
    assert alice.get(TASKS).status_code == 401
    assert ada.patch(path(task), {"title": "Changed"}).json()["assignee"] == named(alice)


def test_an_unknown_assignee_has_an_id_but_no_username(ada, create_task, user_service):
    task = create_task(assigned_to=999)

    assert seen_by(ada) == {task.pk: None}
    read = ada.get(path(task)).json()
    assert (read["assigned_to"], read["assignee"]) == (999, None)
    assert ada.patch(path(task), {"title": "Changed"}).json()["assigned_to"] == 999
    assert user_service.calls == []


def test_tasks_of_an_unknown_assignee_are_filtered_by_id(ada, create_task):
    task = create_task(assigned_to=999)
    create_task()

    assert seen_by(ada, "assigned_to=999") == {task.pk: None}
    assert ada.get(f"{TASKS}summary/?assigned_to=999").json()["total"] == 1


def test_a_task_of_an_unknown_assignee_can_be_put_back(ada, create_task, user_service):
    task = create_task(assigned_to=999)

    read = ada.get(path(task)).json()

    answer = ada.put(path(task), read)

    assert (answer.status_code, answer.json()) == (200, read)


def test_tasks_of_a_deleted_account_become_unassigned(ada, alice, bob, task, create_task):
    done, his = create_task(assigned_to=alice.id, status="completed"), create_task(assigned_to=bob.id)

    User.objects.upsert([Person.deleted(alice.id, 2000)])

    assert seen_by(ada) == {task.pk: None, done.pk: None, his.pk: named(bob)}
    assert [task["version"] for task in ada.get(f"{TASKS}?ordering=id").json()["results"]] == [2, 2, 1]
    answer = ada.patch(path(task), {"assigned_to": alice.id})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_user")


def test_the_assignee_object_is_read_only(ada, alice, bob, task):
    read = ada.get(path(task)).json()

    for assignee in (named(bob), None, bob.id, {"id": alice.id}, {**named(alice), "username": "eve"}):
        answer = ada.patch(path(task), {"title": "Changed", "assignee": assignee})
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["assignee"]
    assert ada.patch(path(task), {"assignee": named(alice)}).status_code == 200
    assert ada.post(TASKS, {"title": "New", "assignee": named(alice)}).status_code == 400
    assert ada.get(path(task)).json() == read


# By username


@pytest.mark.parametrize("name", ["bob", "BOB", " bob\n"])
def test_an_assignee_can_be_given_by_username(ada, bob, task, user_service, name):
    made = ada.post(TASKS, {"title": "Water", "assigned_to": name})
    changed = ada.patch(path(task), {"assigned_to": name})
    in_bulk = ada.post(f"{TASKS}bulk/", {"ids": [task.pk], "set": {"assigned_to": name, "title": "Weed"}})

    assert (made.status_code, changed.status_code, in_bulk.status_code) == (201, 200, 200)
    for shown in (made.json(), changed.json(), *in_bulk.json()["updated"]):
        assert (shown["assigned_to"], shown["assignee"]) == (bob.id, named(bob))
    assert user_service.calls == []


def test_a_username_of_digits_is_not_an_id(ada, alice, bob, task, user_service):
    User.objects.filter(pk=bob.id).update(username=str(alice.id))

    assert ada.patch(path(task), {"assigned_to": str(alice.id)}).json()["assigned_to"] == bob.id
    assert ada.patch(path(task), {"assigned_to": alice.id}).json()["assigned_to"] == alice.id
    unknown = ada.patch(path(task), {"assigned_to": str(bob.id)})
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (400, "unknown_user")


def test_a_new_account_is_found_by_username(ada, newcomer, task, user_service):
    user_service.change(newcomer)

    answer = ada.patch(path(task), {"assigned_to": "nora"})

    assert (answer.status_code, answer.json()["assignee"]) == (200, named(newcomer))
    assert (len(user_service.pulls), user_service.lookups) == (1, [])


def test_a_renamed_account_is_found_by_its_new_username(ada, alice, bob, task, user_service):
    user_service.change(bob, username="robert")

    new = ada.patch(path(task), {"assigned_to": "robert"})
    old = ada.patch(path(task), {"assigned_to": "bob"})

    assert new.json()["assignee"] == {"id": bob.id, "username": "robert"}
    assert (old.status_code, old.json()["errors"][0]["code"]) == (400, "unknown_user")
    assert "user named 'bob'" in old.json()["detail"]


def test_an_unknown_username_is_400_and_changes_nothing(ada, alice, task, user_service):
    for name in ("nobody", "../102?", "alice@tm.example", "%", "x" * 64):
        answer = ada.patch(path(task), {"assigned_to": name, "title": "Changed"})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_user"), name
    assert ada.get(path(task)).json()["version"] == 1


def test_the_username_of_an_ended_account_is_400(ada, alice, bob, task, user_service):
    user_service.delete(bob)
    User.objects.upsert([Person.deleted(bob.id, 2000)])
    User.objects.filter(pk=alice.id).update(is_active=False)
    user_service.add(alice, is_active=False)

    answers = [ada.post(TASKS, {"title": "Water", "assigned_to": name}) for name in ("bob", "alice")]

    assert [answer.json()["errors"][0]["code"] for answer in answers] == ["unknown_user", "inactive_user"]


def test_without_the_user_service_only_known_usernames_work(ada, bob, task, user_service):
    user_service.reaction = lambda call: call.answer({}, status=500)

    known, unknown = (ada.patch(path(task), {"assigned_to": name}) for name in ("bob", "nora"))
    again = ada.patch(path(task), {"assigned_to": "nora"})

    assert (known.status_code, unknown.status_code, again.status_code) == (200, 503, 503)
    assert (unknown["Retry-After"], ada.get(path(task)).json()["assigned_to"]) == ("2", bob.id)


def test_a_directory_far_behind_the_feed_makes_usernames_503(ada, task, user_service):
    user_service.page_size = 1
    for id_ in range(201, 206):
        user_service.change(Caller(id_, f"user{id_}"))

    behind, caught_up = (ada.patch(path(task), {"assigned_to": "user205"}) for _ in range(2))

    assert (behind.status_code, caught_up.json()["assigned_to"]) == (503, 205)
