from types import SimpleNamespace

import pytest

from chassis.auth.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated, IsService, ReadOnly
from chassis.auth.tokens import Caller, ServiceCaller

CHARLIE = None  # anonymous
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
def test_each_permission_admits_only_its_callers(permission, welcome):
    assert [user for user in EVERYONE if allowed(permission, user)] == welcome


@pytest.mark.parametrize("user", EVERYONE)
def test_read_only_depends_on_the_method(user):
    assert [method for method in ("GET", "HEAD", *WRITING) if allowed(ReadOnly, user, method)] == ["GET", "HEAD"]


def test_permissions_can_be_combined():
    rule = IsAuthenticated & (ReadOnly | IsAdmin)

    assert [user for user in EVERYONE if allowed(rule, user, "GET")] == [ALICE, ADA]
    for method in WRITING:
        assert [user for user in EVERYONE if allowed(rule, user, method)] == [ADA]


@pytest.mark.parametrize(("method", "welcome"), [("GET", list(EVERYONE)), *((method, [ADA]) for method in WRITING)])
def test_a_write_is_rejected_only_after_the_row_is_found(method, welcome):
    def allowed_on_row(user):
        request = SimpleNamespace(user=user, method=method)
        return AdminWritesOnceVisible().has_object_permission(request, view=None, obj=object())

    assert allowed(AdminWritesOnceVisible, ALICE, method)
    assert [user for user in EVERYONE if allowed_on_row(user)] == welcome
