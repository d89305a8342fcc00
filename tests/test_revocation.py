"""Rights revoked in the user service end in both services whatever a token says."""

from itertools import count

import pytest

from tests.local_stack import PASSWORD, eventually

names = (f"rita{number}" for number in count())


@pytest.fixture
def admin(stack):
    return stack.admin_token()


@pytest.fixture
def rita(stack, admin):
    """An admin who has created a task: {"id", "name", "token", "task"}."""
    name = next(names)
    user_id = stack.register(name)
    assert stack.call("PATCH", f"/user/users/{user_id}/", token=admin, json={"role": "admin"}).status_code == 200
    token = stack.token(name)
    made = stack.call("POST", "/task/tasks/", token=token, json={"title": "Mow", "assigned_to": user_id})
    assert made.status_code == 201  # at once: the token is newer than the directory
    assert made.json()["assignee"] == {"id": user_id, "username": name}
    return {"id": user_id, "name": name, "token": token, "task": f"/task/tasks/{made.json()['id']}/"}


def deactivate(stack, admin, rita):
    return stack.call("PATCH", f"/user/users/{rita['id']}/", token=admin, json={"is_active": False})


def delete(stack, admin, rita):
    return stack.call("DELETE", f"/user/users/{rita['id']}/", token=admin)


def change_password(stack, admin, rita):
    body = {"current_password": PASSWORD, "new_password": "another fine battery staple"}
    return stack.call("POST", "/user/me/password/", token=rita["token"], json=body)


def sign_out_everywhere(stack, admin, rita):
    return stack.call("POST", "/token/logout-all/", token=rita["token"])


@pytest.mark.parametrize("ending", [deactivate, delete, change_password, sign_out_everywhere])
def test_a_revoked_token_is_refused(stack, admin, rita, ending):
    assert ending(stack, admin, rita).ok

    def is_refused():
        return stack.call("GET", rita["task"], token=rita["token"]).status_code == 401

    eventually(is_refused)
    assert stack.call("POST", "/task/tasks/", token=rita["token"], json={"title": "x"}).status_code == 401


def test_a_demoted_admin_cannot_write_and_sees_only_their_tasks(stack, admin, rita):
    other = stack.call("POST", "/task/tasks/", token=admin, json={"title": "Not Rita's"}).json()["id"]
    demoted = stack.call("PATCH", f"/user/users/{rita['id']}/", token=admin, json={"role": "user"})
    assert demoted.status_code == 200

    def may_not_write():
        return stack.call("PATCH", rita["task"], token=rita["token"], json={"title": "x"}).status_code == 403

    eventually(may_not_write)
    assert stack.call("GET", rita["task"], token=rita["token"]).status_code == 200
    assert stack.call("GET", f"/task/tasks/{other}/", token=rita["token"]).status_code == 404


def test_a_deleted_users_tasks_are_unassigned_with_a_reason(stack, admin, rita):
    assert delete(stack, admin, rita).status_code == 204

    def is_unassigned():
        return stack.call("GET", rita["task"], token=admin).json()["assigned_to"] is None

    eventually(is_unassigned)
    last = stack.call("GET", f"{rita['task']}activity/", token=admin).json()["results"][0]
    assert (last["kind"], last["from"], last["to"]) == ("unassigned", rita["id"], None)
    assert (last["reason"], last["by"]) == ("account deleted", None)
    refused = stack.call("PATCH", rita["task"], token=admin, json={"assigned_to": rita["id"]})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "unknown_user")


def test_a_new_username_appears_in_lists(stack, admin, rita):
    renamed = stack.call(
        "PATCH", "/user/me/", token=rita["token"], json={"username": f"{rita['name']}x", "current_password": PASSWORD}
    )
    assert renamed.status_code == 200

    def shows():
        task = stack.call("GET", rita["task"], token=admin).json()
        return task["assignee"]["username"] == f"{rita['name']}x"

    eventually(shows)
