from types import SimpleNamespace

import pytest

from chassis.auth.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated, IsService, ReadOnly
from chassis.auth.tokens import Caller, ServiceCaller

CHARLIE = None  # has not signed in
ALICE = Caller(id=1, username="alice", role="user", epoch=0, session_id=10)
ADA = Caller(id=2, username="ada", role="admin", epoch=0, session_id=20)
TASK_SERVICE = ServiceCaller("task_service")

EVERYONE = (CHARLIE, ALICE, ADA, TASK_SERVICE)
WRITING = ("POST", "PUT", "PATCH", "DELETE")


def allowed(permission, user, method="GET"):
    return permission().has_permission(SimpleNamespace(user=user, method=method), view=None)


@pytest.mark.parametrize(
    ("permission", "welcome"),
    [(IsAuthenticated, [ALICE, ADA]), (IsAdmin, [ADA]), (IsService, [TASK_SERVICE])],
)
def test_each_rule_lets_in_its_own_and_nobody_else(permission, welcome):
    assert [user for user in EVERYONE if allowed(permission, user)] == welcome


@pytest.mark.parametrize("user", EVERYONE)
def test_read_only_asks_for_the_method_alone(user):
    assert [method for method in ("GET", "HEAD", *WRITING) if allowed(ReadOnly, user, method)] == ["GET", "HEAD"]


def test_rules_combine_into_the_sentence_of_the_specification():
    rule = IsAuthenticated & (ReadOnly | IsAdmin)

    assert [user for user in EVERYONE if allowed(rule, user, "GET")] == [ALICE, ADA]
    for method in WRITING:
        assert [user for user in EVERYONE if allowed(rule, user, method)] == [ADA]


@pytest.mark.parametrize("method", WRITING)
def test_a_write_is_only_refused_once_the_row_was_found(method):
    def allowed_on_row(user):
        request = SimpleNamespace(user=user, method=method)
        return AdminWritesOnceVisible().has_object_permission(request, view=None, obj=object())

    assert allowed(AdminWritesOnceVisible, ALICE, method)
    assert [user for user in EVERYONE if allowed_on_row(user)] == [ADA]


def test_what_was_found_may_be_read():
    request = SimpleNamespace(user=ALICE, method="GET")

    assert AdminWritesOnceVisible().has_object_permission(request, view=None, obj=object())
