"""Assignees: visibility after reassignment, usernames, and assignment by username."""

import pytest

from directory.models import User
from directory.person import Person
from tests.conftest import TASKS, invalid_fields, results, task_url
from tests.conftest import Person as Caller

pytestmark = pytest.mark.django_db


def seen_by(person, query=""):
    return {task["id"]: task["assignee"] for task in results(person.get(f"{TASKS}?{query}"))}


def named(person):
    return {"id": person.id, "username": person.username}


def rejected(answer):
    assert invalid_fields(answer) == ["assigned_to"]
    return answer.json()["errors"][0]["code"]


@pytest.fixture
def task(create_task, alice):
    return create_task(assigned_to=alice.id)


def test_a_reassigned_task_moves_to_the_new_assignee(ada, alice, bob, task):
    answer = ada.patch(task_url(task), {"assigned_to": bob.id})

    assert (answer.status_code, answer.json()["assigned_to"], answer.json()["assignee"]) == (200, bob.id, named(bob))
    assert seen_by(ada) == seen_by(bob) == {task.pk: named(bob)}
    assert seen_by(ada, f"assigned_to={bob.id}") == seen_by(bob, "assigned_to=me") == {task.pk: named(bob)}
    assert seen_by(alice) == seen_by(ada, f"assigned_to={alice.id}") == {}
    assert (bob.get(task_url(task)).json(), alice.get(task_url(task)).status_code) == (answer.json(), 404)


def test_an_unassigned_task_is_visible_to_admins_only(ada, alice, bob, task):
    answer = ada.patch(task_url(task), {"assigned_to": None})

    assert (answer.status_code, answer.json()["assigned_to"], answer.json()["assignee"]) == (200, None, None)
    assert seen_by(ada) == seen_by(ada, "assigned_to=none") == {task.pk: None}
    assert seen_by(alice) == seen_by(bob) == {}
    assert [who.get(task_url(task)).status_code for who in (ada, alice, bob)] == [200, 404, 404]


def test_only_the_current_assignee_sees_the_task(ada, alice, bob, task):
    for who in (bob, alice, None, bob, ada):
        answer = ada.patch(task_url(task), {"assigned_to": who and who.id})

        assert answer.json()["assignee"] == (who and named(who))
        assert [bool(seen_by(person)) for person in (alice, bob)] == [who is alice, who is bob]
    assert answer.json()["version"] == 6


def test_the_current_username_is_shown_everywhere(ada, alice, task):
    User.objects.filter(pk=alice.id).update(username="Alice Liddell")
    shown = {"id": alice.id, "username": "Alice Liddell"}

    assert seen_by(ada) == seen_by(alice) == {task.pk: shown}
    assert ada.get(task_url(task)).json()["assignee"] == shown
    assert ada.patch(task_url(task), {"title": "Changed"}).json()["assignee"] == shown
    bulk = ada.post(f"{TASKS}bulk/", {"ids": [task.pk], "set": {"title": "Changed again"}})
    assert bulk.json()["updated"][0]["assignee"] == shown


def test_a_deactivated_assignee_keeps_tasks_and_username(ada, alice, task):
    User.objects.filter(pk=alice.id).update(is_active=False)

    assert seen_by(ada) == {task.pk: named(alice)}
    assert ada.patch(task_url(task), {"title": "Changed"}).json()["assignee"] == named(alice)


def test_an_unknown_assignee_has_an_id_but_no_username(ada, create_task, user_service):
    task = create_task(assigned_to=999)

    assert seen_by(ada) == seen_by(ada, "assigned_to=999") == {task.pk: None}
    changed = ada.patch(task_url(task), {"title": "Changed"}).json()
    assert (changed["assigned_to"], changed["assignee"]) == (999, None)
    put_back = ada.put(task_url(task), changed)
    assert (put_back.status_code, put_back.json()) == (200, changed)
    assert user_service.calls == []


def test_the_assignee_object_is_read_only(ada, alice, bob, task):
    read = ada.get(task_url(task)).json()

    for assignee in (named(bob), None, bob.id, {"id": alice.id}, {**named(alice), "username": "eve"}):
        answer = ada.patch(task_url(task), {"title": "Changed", "assignee": assignee})
        assert invalid_fields(answer) == ["assignee"]
    assert ada.patch(task_url(task), {"assignee": named(alice)}).json() == read


# By username


@pytest.mark.parametrize("name", ["bob", "BOB", " bob\n"])
def test_an_assignee_can_be_given_by_username(ada, bob, task, user_service, name):
    made = ada.post(TASKS, {"title": "Water", "assigned_to": name})
    changed = ada.patch(task_url(task), {"assigned_to": name})
    in_bulk = ada.post(f"{TASKS}bulk/", {"ids": [task.pk], "set": {"assigned_to": name, "title": "Weed"}})

    assert (made.status_code, changed.status_code, in_bulk.status_code) == (201, 200, 200)
    for shown in (made.json(), changed.json(), *in_bulk.json()["updated"]):
        assert (shown["assigned_to"], shown["assignee"]) == (bob.id, named(bob))
    assert user_service.calls == []


def test_a_username_of_digits_is_not_an_id(ada, alice, bob, task, user_service):
    User.objects.filter(pk=bob.id).update(username=str(alice.id))

    assert ada.patch(task_url(task), {"assigned_to": str(alice.id)}).json()["assigned_to"] == bob.id
    assert ada.patch(task_url(task), {"assigned_to": alice.id}).json()["assigned_to"] == alice.id
    assert rejected(ada.patch(task_url(task), {"assigned_to": str(bob.id)})) == "unknown_user"


def test_a_new_account_is_found_by_username(ada, newcomer, task, user_service):
    user_service.change(newcomer)

    answer = ada.patch(task_url(task), {"assigned_to": "nora"})

    assert (answer.status_code, answer.json()["assignee"]) == (200, named(newcomer))
    assert (len(user_service.pulls), user_service.lookups) == (1, [])


def test_a_renamed_account_is_found_by_its_new_username(ada, bob, task, user_service):
    user_service.change(bob, username="robert")

    new = ada.patch(task_url(task), {"assigned_to": "robert"})
    old = ada.patch(task_url(task), {"assigned_to": "bob"})

    assert new.json()["assignee"] == {"id": bob.id, "username": "robert"}
    assert rejected(old) == "unknown_user"
    assert "user named 'bob'" in old.json()["detail"]


@pytest.mark.parametrize("name", ["nobody", "../102?", "alice@tm.example", "%", "x" * 64])
def test_an_unknown_username_is_400_and_changes_nothing(ada, task, user_service, name):
    assert rejected(ada.patch(task_url(task), {"assigned_to": name, "title": "Changed"})) == "unknown_user"
    assert ada.get(task_url(task)).json()["version"] == 1


def test_the_username_of_an_ended_account_is_400(ada, alice, bob, user_service):
    user_service.delete(bob)
    User.objects.upsert([Person.deleted(bob.id, 2000)])
    User.objects.filter(pk=alice.id).update(is_active=False)
    user_service.add(alice, is_active=False)

    answers = [ada.post(TASKS, {"title": "Water", "assigned_to": name}) for name in ("bob", "alice")]

    assert [rejected(answer) for answer in answers] == ["unknown_user", "inactive_user"]


def test_without_the_user_service_only_known_usernames_work(ada, bob, task, user_service):
    user_service.reaction = lambda call: call.answer({}, status=500)

    known, unknown, again = (ada.patch(task_url(task), {"assigned_to": name}) for name in ("bob", "nora", "nora"))

    assert (known.status_code, unknown.status_code, again.status_code) == (200, 503, 503)
    assert (unknown["Retry-After"], ada.get(task_url(task)).json()["assigned_to"]) == ("2", bob.id)


def test_a_directory_far_behind_the_feed_makes_usernames_503(ada, task, user_service):
    user_service.page_size = 1
    for id_ in range(201, 206):
        user_service.change(Caller(id_, f"user{id_}"))

    behind, caught_up = (ada.patch(task_url(task), {"assigned_to": "user205"}) for _ in range(2))

    assert (behind.status_code, caught_up.json()["assigned_to"]) == (503, 205)
