"""Every caller is checked against the directory: current rights, role and username."""

import re

import pytest

from chassis.auth import tokens
from directory import accounts
from directory.models import User
from directory.person import Person as Account
from tasks.models import Task
from tasks.urls import urlpatterns
from tests.conftest import Person, set_feed_age

pytestmark = pytest.mark.django_db

LIST = "/task/tasks/"
NEW = {"title": "Water the plants"}


def update_directory(person, **values):
    User.objects.filter(pk=person.id).update(**values)


def with_newer_token(person, *, epoch, role=None):
    """Return the same person with a token of a later epoch."""
    return Person(person.id, person.username, role=role or person.role, epoch=epoch)


def server_error(call):
    call.answer(b"", status=500)


def assert_looked_up_once(user_service, person):
    (call,) = user_service.calls
    sent = tokens.verify_service(call.headers["Authorization"].removeprefix("Bearer "))
    assert (call.path, sent.on_behalf_of) == (f"/internal/users/?ids={person.id}", person.id)


def statuses(person, *, task):
    """Return the statuses of two reads and two writes."""
    one = f"{LIST}{task.pk}/"
    answers = [person.get(LIST), person.get(one), person.post(LIST, NEW), person.patch(one, {"title": "Taken"})]
    return [answer.status_code for answer in answers]


def test_a_known_caller_takes_one_statement_and_no_call(alice, user_service, django_assert_num_queries):
    with django_assert_num_queries(1):
        answer = alice.get(f"{LIST}?titel=x")  # rejected right after the check

    assert answer.status_code == 400
    assert user_service.calls == []


# Revoked tokens


REVOKED = {
    "deactivated": {"is_active": False},
    "deleted": {"is_active": False, "is_deleted": True},
    "all sessions ended": {"epoch": 1, "min_valid_epoch": 1},
}


@pytest.fixture(params=REVOKED.values(), ids=REVOKED)
def revoked_caller(request, alice):
    """Alice, after her token was revoked."""
    update_directory(alice, **request.param)
    return alice


def test_a_caller_without_valid_rights_is_401_everywhere(revoked_caller, create_task, user_service):
    task = create_task(assigned_to=None)
    before = Task.objects.values().get()
    paths = ["/" + re.sub("<id:.*?>", str(task.pk), str(route.pattern)) for route in urlpatterns]

    answers = [
        getattr(revoked_caller, method)(path, NEW if method != "get" else None)
        for path in paths
        for method in ("get", "post", "put", "patch", "delete")
    ]

    assert len(paths) >= 6
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "token_invalid")}
    assert {answer["WWW-Authenticate"] for answer in answers} == {'Bearer realm="tmservice"'}
    assert Task.objects.values().get() == before
    assert user_service.calls == []


def test_the_401_does_not_reveal_its_reason(revoked_caller, charlie):
    answers = [person.get(LIST).json() for person in (revoked_caller, charlie)]

    assert answers[0] == answers[1] | {"request_id": answers[0]["request_id"]}


def test_a_token_is_valid_from_the_minimum_epoch_on(alice):
    update_directory(alice, epoch=5, min_valid_epoch=4)

    assert [with_newer_token(alice, epoch=epoch).get(LIST).status_code for epoch in (3, 4, 5)] == [401, 200, 200]


# Changed roles and usernames


def test_a_demoted_admin_has_the_rights_of_a_user(ada, create_task, user_service):
    own, unassigned = create_task(assigned_to=ada.id), create_task()
    update_directory(ada, role="user", epoch=1)

    assert statuses(ada, task=own) == [200, 200, 403, 403]
    assert statuses(ada, task=unassigned) == [200, 404, 403, 404]
    assert [task["id"] for task in ada.get(LIST).json()["results"]] == [own.pk]
    assert ada.post(f"{LIST}bulk/", {"ids": [own.pk], "set": {"title": "Taken"}}).status_code == 403
    assert set(Task.objects.values_list("title", flat=True)) == {"Water the plants"}
    assert user_service.calls == []


def test_a_promoted_user_is_an_admin_with_the_old_token(alice, create_task, user_service):
    update_directory(alice, role="admin", epoch=1)

    assert statuses(alice, task=create_task()) == [200, 200, 201, 200]
    assert user_service.calls == []


def test_callers_have_their_current_username(alice):
    update_directory(alice, username="alicia", role="admin")
    caller = tokens.verify_access(alice.token)

    now, _ = accounts.resolve_caller(caller)

    assert (now.id, now.username, now.role, now.session_id) == (alice.id, "alicia", "admin", caller.session_id)


def test_a_new_username_is_shown(ada, alice, user_service):
    task = ada.post(LIST, NEW | {"assigned_to": alice.id}).json()
    user_service.change(alice, username="alicia")
    user_service.change(ada, username="ada.l")
    set_feed_age(seconds_ago=3)

    (listed,) = alice.get(LIST).json()["results"]

    history = alice.get(f"{LIST}{task['id']}/activity/").json()["results"]
    assert listed == task | {"assignee": {"id": alice.id, "username": "alicia"}}
    assert {fact["by"]["username"] for fact in history} == {"ada.l"}


# Tokens newer than the directory


@pytest.mark.parametrize(("token_role", "looked_up", "status"), [("user", "admin", 201), ("admin", "user", 403)])
def test_a_newer_token_causes_one_lookup(alice, user_service, token_role, looked_up, status):
    user_service.change(alice, role=looked_up, epoch=7, min_valid_epoch=6)
    person = with_newer_token(alice, epoch=7, role=token_role)

    answers = [person.post(LIST, NEW) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {status}
    assert_looked_up_once(user_service, alice)
    assert alice.get(LIST).status_code == 401  # the lookup also revokes the old token


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, 200),  # the user service has an older epoch: it may read from a replica that lags
        ({"is_active": False, "epoch": 8}, 401),
        ({"epoch": 8, "min_valid_epoch": 8}, 401),
        (None, 401),
    ],
    ids=["older", "deactivated", "revoked", "deleted"],
)
def test_a_lookup_decides_on_a_newer_token(alice, user_service, values, status):
    user_service.delete(alice) if values is None else user_service.change(alice, **values)

    assert with_newer_token(alice, epoch=7).get(LIST).status_code == status
    assert len(user_service.lookups) == 1


def test_a_newer_token_works_without_the_user_service(alice, create_task, user_service):
    """For example reactivated or promoted just before the user service failed."""
    user_service.reaction = server_error
    update_directory(alice, is_active=False, min_valid_epoch=6)
    before = User.objects.values().get(pk=alice.id)

    assert statuses(with_newer_token(alice, epoch=7, role="admin"), task=create_task()) == [200, 200, 201, 200]
    assert User.objects.values().get(pk=alice.id) == before


def test_a_deleted_account_is_never_looked_up(alice, user_service):
    User.objects.upsert([Account.deleted(alice.id, 1001)])

    assert with_newer_token(alice, epoch=7, role="admin").get(LIST).status_code == 401
    assert user_service.calls == []


# Callers missing in the directory


def test_an_unknown_caller_is_looked_up_and_stored(newcomer, user_service):
    user_service.add(newcomer, role="admin")

    answers = [newcomer.post(LIST, NEW) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert_looked_up_once(user_service, newcomer)
    assert User.objects.values_list("username", "role").get(pk=newcomer.id) == ("nora", "admin")


def test_a_caller_unknown_to_both_services_is_401(user_service):
    unknown = Person(106, "norman", role="admin")

    answer = unknown.post(LIST, NEW)

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert user_service.lookups == ["/internal/users/?ids=106"]
    assert not User.objects.filter(pk=106).exists()


@pytest.mark.parametrize("values", [{"is_active": False}, {"epoch": 1, "min_valid_epoch": 1}])
def test_an_unknown_caller_without_valid_rights_is_401(newcomer, user_service, values):
    user_service.add(newcomer, **values)

    assert [newcomer.get(LIST).status_code for _ in range(2)] == [401, 401]
    assert len(user_service.lookups) == 1


def test_an_unknown_caller_is_503_without_the_user_service(newcomer, user_service):
    honest, user_service.reaction = user_service.reaction, server_error

    answer = newcomer.get(LIST)

    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "service_unavailable", "2")
    assert answer["Content-Type"] == "application/problem+json"
    user_service.reaction = honest
    assert newcomer.get(LIST).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_of_an_unknown_caller_succeed(newcomer, user_service, at_once):
    answers = at_once(*[(newcomer.get, LIST)] * 6)

    assert [answer.status_code for answer in answers] == [200] * 6
    assert User.objects.get(pk=newcomer.id).username == "nora"
