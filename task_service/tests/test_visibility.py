"""What you may not see does not exist; what you may not do is forbidden."""

import pytest

from chassis.testing.permission_table import response_content
from tests.conftest import TASKS, results, stored_tasks, task_url

pytestmark = pytest.mark.django_db


def ids(answer):
    return {task["id"] for task in results(answer)}


def test_it_works(ada, alice, bob, create_task):
    hers, his, unassigned = create_task(assigned_to=alice.id), create_task(assigned_to=bob.id), create_task()

    assert ids(ada.get(TASKS)) == {hers.pk, his.pk, unassigned.pk}
    assert ids(alice.get(TASKS)) == {hers.pk}
    assert ids(bob.get(TASKS)) == {his.pk}


def test_creators_do_not_see_their_tasks(bob, create_task):
    task = create_task(created_by=bob.id)

    assert (ids(bob.get(TASKS)), bob.get(task_url(task)).status_code) == (set(), 404)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        *(("get", None), ("delete", None), ("put", {"title": "Taken over"}), ("patch", {"title": "Taken over"})),
        *((method, body) for method in ("put", "patch") for body in ({"titel": "x"}, [], {"assigned_to": 103})),
    ],
)
@pytest.mark.parametrize("assignee", ["alice", None])
def test_a_task_of_another_user_looks_missing(alice, bob, create_task, user_service, method, body, assignee):
    task = create_task(assigned_to=alice.id if assignee else None)
    before = stored_tasks()

    theirs = getattr(bob, method)(task_url(task), body)
    none = getattr(bob, method)(f"{TASKS}{task.pk + 1}/", body)

    assert theirs.status_code == 404
    assert response_content(theirs) == response_content(none)
    assert (stored_tasks(), user_service.calls) == (before, [])


def test_users_cannot_assign_tasks(alice, bob, newcomer, create_task, user_service):
    task = create_task(assigned_to=alice.id)
    before = stored_tasks()

    answers = [
        bob.patch(task_url(task), {"assigned_to": bob.id}),
        bob.post(TASKS, {"title": "Mine", "assigned_to": bob.id}),
        alice.patch(task_url(task), {"assigned_to": newcomer.id}),
        alice.put(task_url(task), {"title": "Mine", "assigned_to": newcomer.id}),
    ]

    assert [answer.status_code for answer in answers] == [404, 403, 403, 403]
    assert (stored_tasks(), user_service.calls) == (before, [])


def test_pages_do_not_reveal_invisible_tasks(alice, bob, create_task):
    for person in (bob, alice, bob):
        create_task(assigned_to=person.id)

    page = alice.get(f"{TASKS}?page_size=1").json()

    assert (len(page["results"]), page["next"], page["previous"]) == (1, None, None)


def test_a_cursor_of_another_caller_shows_only_visible_tasks(ada, alice, create_task):
    hers = [create_task(assigned_to=alice.id), create_task(assigned_to=alice.id)]
    create_task()
    link = ada.get(f"{TASKS}?page_size=1&ordering=id").json()["next"]

    assert ids(alice.get(link)) == {hers[1].pk}
