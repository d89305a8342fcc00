"""Every caller is checked against the directory: who may still come in, and as whom."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chassis.auth import tokens
from directory import accounts
from directory.models import User
from directory.person import Person as Account
from tasks.models import Task
from tasks.urls import urlpatterns
from tests.conftest import Person, feed_read

pytestmark = pytest.mark.django_db

LIST = "/task/tasks/"
NEW = {"title": "Water the plants"}


def known_as(person, **values):
    User.objects.filter(pk=person.id).update(**values)


def signed_in_again(person, *, epoch, role=None):
    """The same person with a token of a later epoch."""
    return Person(person.id, person.username, role=role or person.role, epoch=epoch)


def down(call):
    call.answer(b"", status=500)


def statuses(person, *, task):
    """What they get when they read, and when they write."""
    one = f"{LIST}{task.pk}/"
    answers = [person.get(LIST), person.get(one), person.post(LIST, NEW), person.patch(one, {"title": "Taken"})]
    return [answer.status_code for answer in answers]


def ids(answer):
    return {task["id"] for task in answer.json()["results"]}


def test_a_known_caller_takes_one_statement_and_no_call(alice, user_service):
    with CaptureQueriesContext(
        connection,
    ) as statements:
        answer = alice.get(f"{LIST}?titel=x")  # refused right after the check

    assert answer.status_code == 400
    assert len(statements) == 1
    assert user_service.calls == []


# Those whose rights have ended


ENDED = {
    "deactivated": {"is_active": False},
    "deleted": {"is_active": False, "is_deleted": True},
    "all sessions ended": {"epoch": 1, "least_epoch": 1},
}


@pytest.fixture(params=ENDED.values(), ids=ENDED)
def outcast(request, alice):
    """Alice, with a token that was good a moment ago."""
    known_as(alice, **request.param)
    return alice


def test_a_caller_without_valid_rights_is_401_everywhere(outcast, a_task, user_service):
    task = a_task(assigned_to=None)
    before = Task.objects.values().get()
    paths = ["/" + re.sub("<id:.*?>", str(task.pk), str(route.pattern)) for route in urlpatterns]

    answers = [
        getattr(outcast, method)(path, NEW if method != "get" else None)
        for path in paths
        for method in ("get", "post", "put", "patch", "delete")
    ]

    assert len(paths) >= 6
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "token_invalid")}
    assert {answer["WWW-Authenticate"] for answer in answers} == {'Bearer realm="tmservice"'}
    assert Task.objects.values().get() == before
    assert user_service.calls == []


def test_the_401_does_not_reveal_its_reason(outcast, charlie):
    answers = [person.get(LIST).json() for person in (outcast, charlie)]

    assert answers[0] == answers[1] | {"request_id": answers[0]["request_id"]}


def test_a_token_is_valid_from_the_minimum_epoch_on(alice):
    known_as(alice, epoch=5, least_epoch=4)

    assert [signed_in_again(alice, epoch=epoch).get(LIST).status_code for epoch in (3, 4, 5)] == [401, 200, 200]


# Those with another role or name


def test_a_demoted_admin_has_the_rights_of_a_user(ada, a_task, user_service):
    own, nobodys = a_task(assigned_to=ada.id), a_task()
    known_as(ada, role="user", epoch=1)

    assert statuses(ada, task=own) == [200, 200, 403, 403]
    assert statuses(ada, task=nobodys) == [200, 404, 403, 404]
    assert ids(ada.get(LIST)) == {own.pk}
    assert ada.post(f"{LIST}bulk/", {"ids": [own.pk], "set": {"title": "Taken"}}).status_code == 403
    assert set(Task.objects.values_list("title", flat=True)) == {"Water the plants"}
    assert user_service.calls == []


def test_a_promoted_user_is_an_admin_with_the_old_token(alice, a_task, user_service):
    known_as(alice, role="admin", epoch=1)

    assert statuses(alice, task=a_task()) == [200, 200, 201, 200]
    assert user_service.calls == []


def test_callers_have_their_current_username(alice):
    known_as(alice, username="alicia", role="admin")
    caller = tokens.verify_access(alice.token)

    now, _ = accounts.resolve_caller(caller)

    assert (now.id, now.username, now.role, now.session_id) == (alice.id, "alicia", "admin", caller.session_id)


def test_a_new_username_is_shown(ada, alice, user_service):
    task = ada.post(LIST, NEW | {"assigned_to": alice.id}).json()
    user_service.changes(alice, username="alicia")
    user_service.changes(ada, username="ada.l")
    feed_read(seconds_ago=3)

    (listed,) = alice.get(LIST).json()["results"]

    history = alice.get(f"{LIST}{task['id']}/activity/").json()["results"]
    assert listed == task | {"assignee": {"id": alice.id, "username": "alicia"}}
    assert {fact["by"]["username"] for fact in history} == {"ada.l"}


# Those with a token that is newer than the directory


@pytest.mark.parametrize(("said", "looked_up", "status"), [("user", "admin", 201), ("admin", "user", 403)])
def test_a_newer_token_causes_one_lookup(alice, user_service, said, looked_up, status):
    user_service.changes(alice, role=looked_up, epoch=7, least_epoch=6)
    person = signed_in_again(alice, epoch=7, role=said)

    answers = [person.post(LIST, NEW) for _ in range(3)]

    (call,) = user_service.calls
    sent = tokens.verify_service(call.headers["Authorization"].removeprefix("Bearer "))
    assert {answer.status_code for answer in answers} == {status}
    assert (call.path, sent.on_behalf_of) == (f"/internal/users/?ids={alice.id}", alice.id)
    assert alice.get(LIST).status_code == 401  # the token from before: what was looked up holds for all


def test_a_newer_token_is_accepted(alice, user_service):
    """Even where the user service does not know of it: its answer may come from a copy that lags."""
    assert signed_in_again(alice, epoch=7).get(LIST).status_code == 200
    assert len(user_service.look_ups) == 1


@pytest.mark.parametrize("values", [{"is_active": False, "epoch": 8}, {"epoch": 8, "least_epoch": 8}])
def test_a_lookup_can_revoke_a_newer_token(alice, user_service, values):
    user_service.changes(alice, **values)

    assert signed_in_again(alice, epoch=7).get(LIST).status_code == 401


def test_a_newer_token_of_a_missing_account_is_401(alice, user_service):
    user_service.deletes(alice)

    assert signed_in_again(alice, epoch=7).get(LIST).status_code == 401


def test_a_newer_token_works_without_the_user_service(alice, a_task, user_service):
    """As when somebody was let in again, or became an admin, a moment before the user service went down."""
    user_service.reaction = down
    known_as(alice, is_active=False, least_epoch=6)
    before = User.objects.values().get(pk=alice.id)

    assert statuses(signed_in_again(alice, epoch=7, role="admin"), task=a_task()) == [200, 200, 201, 200]
    assert User.objects.values().get(pk=alice.id) == before


def test_a_deleted_account_is_never_looked_up(alice, user_service):
    User.objects.upsert([Account.deleted(alice.id, 1001)])
    person = signed_in_again(alice, epoch=7, role="admin")

    assert person.get(LIST).status_code == 401
    user_service.reaction = down
    assert person.get(LIST).status_code == 401
    assert user_service.calls == []


# Those whom the directory does not know


def test_an_unknown_caller_is_looked_up_and_stored(newcomer, user_service):
    user_service.knows(newcomer, role="admin")

    answers = [newcomer.post(LIST, NEW) for _ in range(3)]

    (call,) = user_service.calls
    sent = tokens.verify_service(call.headers["Authorization"].removeprefix("Bearer "))
    assert [answer.status_code for answer in answers] == [201] * 3
    assert (call.path, sent.on_behalf_of) == (f"/internal/users/?ids={newcomer.id}", newcomer.id)
    assert User.objects.values_list("username", "role").get(pk=newcomer.id) == ("nora", "admin")


def test_a_caller_unknown_to_both_services_is_401(user_service):
    nobody = Person(106, "norman", role="admin")

    answer = nobody.post(LIST, NEW)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert user_service.look_ups == ["/internal/users/?ids=106"]
    assert not User.objects.filter(pk=106).exists()


@pytest.mark.parametrize("values", [{"is_active": False}, {"epoch": 1, "least_epoch": 1}])
def test_an_unknown_caller_without_valid_rights_is_401(newcomer, user_service, values):
    user_service.knows(newcomer, **values)

    assert [newcomer.get(LIST).status_code for _ in range(2)] == [401, 401]
    assert len(user_service.look_ups) == 1


def test_an_unknown_caller_is_503_without_the_user_service(newcomer, user_service):
    honest, user_service.reaction = user_service.reaction, down

    answer = newcomer.get(LIST)

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert answer["Retry-After"] == "2"
    assert answer["Content-Type"] == "application/problem+json"
    user_service.reaction = honest
    assert newcomer.get(LIST).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_of_an_unknown_caller_succeed(newcomer, user_service, at_once):
    answers = at_once(*[(newcomer.get, LIST)] * 6)

    assert [answer.status_code for answer in answers] == [200] * 6
    assert User.objects.get(pk=newcomer.id).username == "nora"
