"""A POST with an Idempotency-Key creates one task, however often it is sent."""

import pytest
from django.db import OperationalError

from directory.models import User
from directory.person import Person
from tasks.models import Activity, IdempotencyRecord, Task
from tests.conftest import TASKS

pytestmark = pytest.mark.django_db


def post_task(person, body=None, *, key="k-1", **values):
    body = {"title": "Water the plants"} if body is None else body
    return person.post(TASKS, body | values, headers={"Idempotency-Key": key})


def titles():
    return sorted(Task.objects.values_list("title", flat=True))


def comparable(answer):
    return answer.status_code, answer.content, *(answer.get(name) for name in ("Content-Type", "Location", "ETag"))


def test_it_works(ada, alice, user_service, settings):
    settings.PUBLIC_URL = "https://tm.example"

    answers = [post_task(ada, assigned_to=alice.id) for _ in range(6)]

    task, first = Task.objects.get(), answers[0]
    assert (first.status_code, first["Location"]) == (201, f"https://tm.example/task/tasks/{task.pk}/")
    read = ada.get(first["Location"])
    assert (first.json(), first["ETag"]) == (read.json(), read["ETag"])
    assert [comparable(answer) for answer in answers] == [comparable(first)] * 6
    assert sorted(Activity.objects.values_list("kind", flat=True)) == ["assigned", "created"]


@pytest.mark.parametrize("other", [{"title": "Feed the cat"}, {"assigned_to": 102}, {"nonsense": 1}])
def test_a_different_body_with_the_same_key_is_422(ada, user_service, other):
    first = post_task(ada)

    answer = post_task(ada, **other)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert (titles(), user_service.calls) == (["Water the plants"], [])
    assert comparable(post_task(ada)) == comparable(first)


def test_keys_belong_to_one_admin(ada, grace):
    first = post_task(ada)

    answer = post_task(grace, title="Feed the cat")

    assert (answer.status_code, answer.json()["created_by"]) == (201, grace.id)
    assert titles() == ["Feed the cat", "Water the plants"]
    assert comparable(post_task(ada)) == comparable(first)


@pytest.mark.parametrize(("values", "status"), [({"role": "user"}, 403), ({"is_active": False}, 401)])
def test_a_former_admin_cannot_replay(ada, values, status):
    post_task(ada)
    User.objects.filter(pk=ada.id).update(**values)

    answer = post_task(ada)

    assert (answer.status_code, b"plants" in answer.content) == (status, False)


# Later changes and failures


def test_the_first_response_is_replayed_after_changes(ada, alice, user_service):
    first = post_task(ada, assigned_to=alice.id)
    url = f"{TASKS}{first.json()['id']}/"

    ada.patch(url, {"title": "Changed"})
    after_a_change = post_task(ada, assigned_to=alice.id)
    User.objects.upsert([Person.deleted(alice.id, 2000)])
    after_the_assignee = post_task(ada, assigned_to=alice.id)
    ada.delete(url)
    after_the_task = post_task(ada, assigned_to=alice.id)

    later = (after_a_change, after_the_assignee, after_the_task)
    assert [comparable(answer) for answer in later] == [comparable(first)] * 3
    assert titles() == []


def test_a_replay_works_without_the_user_service(ada, newcomer, user_service):
    first = post_task(ada, assigned_to=newcomer.id)
    user_service.close()

    assert (first.status_code, comparable(post_task(ada, assigned_to=newcomer.id))) == (201, comparable(first))


def test_after_an_outage_of_the_user_service_the_same_key_works(ada, newcomer, user_service):
    user_service.reactions = [lambda call: call.answer({}, status=500)]
    rejected = post_task(ada, assigned_to=newcomer.id)
    kept = IdempotencyRecord.objects.count()

    answer = post_task(ada, assigned_to=newcomer.id)

    assert (rejected.status_code, kept, answer.status_code) == (503, 0, 201)
    assert answer.json()["assignee"] == {"id": newcomer.id, "username": "nora"}
    assert titles() == ["Water the plants"]


def test_a_failure_to_store_the_response_creates_no_task(ada, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(IdempotencyRecord, "save", fail)

    assert post_task(ada).status_code == 503
    assert (titles(), Activity.objects.count(), IdempotencyRecord.objects.count()) == ([], 0, 0)


# Concurrency


@pytest.mark.django_db(transaction=True)
def test_six_concurrent_posts_create_one_task(ada, alice, at_once):
    answers = at_once(*[(post_task, ada, {"title": "Water the plants", "assigned_to": alice.id})] * 6)

    assert [comparable(answer) for answer in answers] == [comparable(answers[0])] * 6
    assert (answers[0].status_code, titles()) == (201, ["Water the plants"])
    assert sorted(Activity.objects.values_list("kind", flat=True)) == ["assigned", "created"]


@pytest.mark.django_db(transaction=True)
def test_one_of_six_bodies_with_one_key_is_created(ada, at_once):
    answers = at_once(*[(post_task, ada, {"title": f"Task {number}"}) for number in range(6)])

    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 5
    assert Task.objects.count() == Activity.objects.count() == 1
