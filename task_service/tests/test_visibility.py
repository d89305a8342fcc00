"""What you may not see does not exist; what you may not do is forbidden."""

import pytest
from rest_framework.test import APIClient

from chassis.auth import tokens
from tasks.models import Task

pytestmark = pytest.mark.django_db

METHODS = [("get", None), ("put", {"title": "Taken over"}), ("patch", {"title": "Taken over"}), ("delete", None)]
WRITES = METHODS[1:]


def ids(answer):
    return {task["id"] for task in answer.json()["results"]}


def comparable(answer):
    """Return the content of a response without the id of its request."""
    body = {name: value for name, value in answer.json().items() if name not in ("instance", "request_id")}
    headers = {name: value for name, value in answer.headers.items() if name not in ("X-Request-ID", "Content-Length")}
    return answer.status_code, body, headers


def test_it_works(ada, alice, bob, create_task):
    hers, his, unassigned = create_task(assigned_to=alice.id), create_task(assigned_to=bob.id), create_task()

    assert ids(ada.get("/task/tasks/")) == {hers.pk, his.pk, unassigned.pk}
    assert ids(alice.get("/task/tasks/")) == {hers.pk}
    assert ids(bob.get("/task/tasks/")) == {his.pk}


def test_creators_do_not_see_their_tasks(bob, create_task):
    task = create_task(created_by=bob.id)

    assert ids(bob.get("/task/tasks/")) == set()
    assert bob.get(f"/task/tasks/{task.pk}/").status_code == 404


@pytest.mark.parametrize(("method", "body"), METHODS)
@pytest.mark.parametrize("assignee", ["alice", None])
def test_a_task_of_another_user_looks_missing(alice, bob, create_task, method, body, assignee):
    task = create_task(assigned_to=alice.id if assignee else None)
    before = Task.objects.values().get()

    theirs = getattr(bob, method)(f"/task/tasks/{task.pk}/", body)
    none = getattr(bob, method)(f"/task/tasks/{task.pk + 1}/", body)

    assert theirs.status_code == 404
    assert comparable(theirs) == comparable(none)
    assert Task.objects.values().get() == before


@pytest.mark.parametrize("body", [{"titel": "x"}, [], {"assigned_to": 103}])
@pytest.mark.parametrize("method", ["put", "patch"])
def test_an_invalid_body_does_not_reveal_a_task(alice, bob, create_task, user_service, method, body):
    task = create_task(assigned_to=alice.id)

    theirs = getattr(bob, method)(f"/task/tasks/{task.pk}/", body)
    none = getattr(bob, method)(f"/task/tasks/{task.pk + 1}/", body)

    assert comparable(theirs) == comparable(none)
    assert user_service.calls == []


@pytest.mark.parametrize(("method", "body"), WRITES)
def test_an_assignee_can_read_but_not_write(alice, create_task, method, body):
    task = create_task(assigned_to=alice.id)
    before = Task.objects.values().get()

    answer = getattr(alice, method)(f"/task/tasks/{task.pk}/", body)

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert alice.get(f"/task/tasks/{task.pk}/").status_code == 200
    assert Task.objects.values().get() == before


def test_users_cannot_assign_tasks_to_themselves(alice, bob, create_task, user_service):
    task = create_task(assigned_to=alice.id)

    answers = [
        bob.patch(f"/task/tasks/{task.pk}/", {"assigned_to": bob.id}),
        bob.put(f"/task/tasks/{task.pk}/", {"title": "Mine", "assigned_to": bob.id}),
        bob.post("/task/tasks/", {"title": "Mine", "assigned_to": bob.id}),
        alice.patch(f"/task/tasks/{task.pk}/", {"assigned_to": bob.id}),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 403, 403]
    assert Task.objects.get().assigned_to_id == alice.id
    assert user_service.calls == []


@pytest.mark.parametrize(("method", "body"), METHODS)
def test_a_former_assignee_sees_nothing(ada, alice, bob, create_task, user_service, method, body):
    task = create_task(assigned_to=alice.id)
    assert alice.get(f"/task/tasks/{task.pk}/").status_code == 200

    ada.patch(f"/task/tasks/{task.pk}/", {"assigned_to": bob.id})

    assert getattr(alice, method)(f"/task/tasks/{task.pk}/", body).status_code == 404
    assert ids(alice.get("/task/tasks/")) == set()
    assert ids(bob.get("/task/tasks/")) == {task.pk}


@pytest.mark.parametrize(
    "query", ["assigned_to=102", "assigned_to=none", "status=todo&assigned_to=102", "overdue=true"]
)
def test_filters_never_show_invisible_tasks(alice, bob, create_task, query):
    create_task(assigned_to=alice.id, due_date="2001-01-01")
    create_task(due_date="2001-01-01")
    create_task(assigned_to=bob.id)

    assert ids(bob.get(f"/task/tasks/?{query}")) == set()


def test_pages_do_not_reveal_invisible_tasks(alice, bob, create_task):
    create_task(assigned_to=bob.id)
    create_task(assigned_to=alice.id)
    create_task(assigned_to=bob.id)

    page = alice.get("/task/tasks/?page_size=1").json()

    assert len(page["results"]) == 1
    assert (page["next"], page["previous"]) == (None, None)


def test_a_cursor_of_another_caller_shows_only_visible_tasks(ada, alice, create_task):
    hers = [create_task(assigned_to=alice.id), create_task(assigned_to=alice.id)]
    create_task()
    link = ada.get("/task/tasks/?page_size=1&ordering=id").json()["next"]

    assert ids(alice.get(link)) == {hers[1].pk}


@pytest.mark.parametrize(("method", "body"), METHODS)
def test_an_expired_token_is_401(charlie, create_task, method, body):
    task = create_task(assigned_to=charlie.id)

    answer = getattr(charlie, method)(f"/task/tasks/{task.pk}/", body)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert Task.objects.get().title == task.title
    assert charlie.get("/task/tasks/").status_code == 401


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
@pytest.mark.parametrize("path", ["/task/tasks/", "/task/tasks/1/"])
def test_a_missing_token_is_401(method, path):
    answer = getattr(APIClient(), method)(path)

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "Basic {token}", "{token}", "Bearer {token}x", "Bearer x,{token}"]
)
def test_a_malformed_token_is_401(ada, header):
    stranger = APIClient()
    stranger.credentials(HTTP_AUTHORIZATION=header.format(token=ada.token))

    assert stranger.get("/task/tasks/").status_code == 401


def test_a_token_in_the_query_is_ignored(ada):
    assert APIClient().get(f"/task/tasks/?access_token={ada.token}").status_code == 401


def test_a_service_token_is_401():
    service = APIClient()
    service.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue_service_token('user_service')}")

    assert service.get("/task/tasks/").status_code == 401


@pytest.mark.parametrize(
    "claims",
    [{"token_type": "refresh"}, {"aud": "elsewhere"}, {"iss": "elsewhere"}, {"role": "root"}, {"sub": "102 or 1=1"}],
    ids=str,
)
def test_a_token_for_another_purpose_is_401(alice, claims):
    person = type(alice)(alice.id, alice.username, **claims)

    assert person.get("/task/tasks/").status_code == 401


def test_responses_are_not_cacheable_for_other_callers(ada, create_task):
    for path in ("/task/tasks/", f"/task/tasks/{create_task().pk}/", "/task/tasks/0/"):
        answer = ada.get(path)

        assert answer["Cache-Control"] == "no-store"
        assert "Authorization" in answer["Vary"]
        assert answer["X-Content-Type-Options"] == "nosniff"
