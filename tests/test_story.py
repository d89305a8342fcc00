"""The main use cases, through the gateway."""

import datetime as dt

import pytest

from tests.local_stack import PASSWORD


@pytest.fixture
def admin(stack):
    return stack.admin_token()


@pytest.fixture(scope="module")
def alice(stack):
    return stack.register("alice"), stack.token("alice")


@pytest.fixture(scope="module")
def bob(stack):
    return stack.register("bob"), stack.token("bob@example.com")


@pytest.fixture
def path(stack, admin, alice):
    """The path of a task that an admin created for Alice, due in three days."""
    body = {"title": "Call the landlord", "due_date": in_three_days(), "assigned_to": alice[0]}
    made = stack.call("POST", "/task/tasks/", token=admin, json=body)
    assert (made.status_code, made.json()["status"], made.json()["assigned_to"]) == (201, "todo", alice[0])
    yield made.headers["Location"].removeprefix(stack.url)
    assert stack.call("DELETE", made.headers["Location"].removeprefix(stack.url), token=admin).status_code in (204, 404)


def in_three_days():
    return (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=3)).isoformat()


def test_an_assignee_can_read_but_not_change_a_task(stack, admin, alice, bob, path):
    task = stack.call("GET", path, token=admin).json()

    assert titles(stack, alice[1]) == ["Call the landlord"]
    assert titles(stack, bob[1]) == []
    assert stack.call("GET", path, token=alice[1]).json() == task
    assert stack.call("GET", path, token=bob[1]).status_code == 404
    for method, body in [("PUT", {"title": "Mine"}), ("PATCH", {"status": "completed"}), ("DELETE", None)]:
        assert stack.call(method, path, token=alice[1], json=body).status_code == 403
        assert stack.call(method, path, token=bob[1], json=body).status_code == 404
    assert stack.call("POST", "/task/tasks/", token=alice[1], json={"title": "Mine"}).status_code == 403
    assert stack.call("GET", path, token=admin).json() == task


def test_a_reassigned_task_moves_to_the_new_assignee(stack, admin, alice, bob, path):
    task = stack.call("GET", path, token=admin).json()

    moved = stack.call("PUT", path, token=admin, json={**task, "assigned_to": bob[0]})

    assert (moved.status_code, moved.json()["version"]) == (200, 2)
    assert titles(stack, alice[1]) == []
    assert stack.call("GET", path, token=alice[1]).status_code == 404
    assert titles(stack, bob[1]) == ["Call the landlord"]


def test_the_filters_follow_a_change_of_status(stack, admin, alice, path):
    done = stack.call("PATCH", path, token=admin, json={"status": "Completed"})

    assert (done.json()["status"], done.json()["status_label"]) == ("completed", "Completed")
    assert titles(stack, alice[1], "?status=completed") == ["Call the landlord"]
    assert titles(stack, alice[1], "?status=todo,in_progress") == []
    assert titles(stack, alice[1], f"?due_date={in_three_days()}") == ["Call the landlord"]
    assert titles(stack, alice[1], "?due_date_before=2020-01-01") == []


def test_a_deleted_task_is_gone_for_everyone(stack, admin, alice, path):
    deleted = stack.call("DELETE", path, token=admin)

    assert deleted.status_code == 204
    assert stack.call("GET", path, token=admin).status_code == 404
    assert titles(stack, alice[1]) == []


def titles(stack, token, query=""):
    answer = stack.call("GET", f"/task/tasks{query}", token=token)
    assert answer.status_code == 200, answer.text
    return [task["title"] for task in answer.json()["results"]]


def test_a_refreshed_token_has_the_current_role(stack, admin):
    carla_id = stack.register("carla")
    pair = stack.call("POST", "/token/", json={"username": "carla", "password": PASSWORD}).json()
    assert stack.call("POST", "/task/tasks/", token=pair["access"], json={"title": "x"}).status_code == 403

    account = stack.call("GET", f"/user/users/{carla_id}/", token=admin).json()
    promoted = stack.call("PUT", f"/user/users/{carla_id}/", token=admin, json={**account, "role": "admin"})
    refreshed = stack.call("POST", "/token/refresh/", json={"refresh": pair["refresh"]})

    assert (promoted.status_code, refreshed.status_code) == (200, 200)
    made = stack.call("POST", "/task/tasks/", token=refreshed.json()["access"], json={"title": "Made by Carla"})
    assert (made.status_code, made.json()["created_by"]) == (201, carla_id)


@pytest.mark.parametrize("by_body", [True, False], ids=["id in the body", "id in the path"])
def test_an_admin_lists_changes_and_deletes_accounts(stack, admin, by_body):
    name = f"dora{int(by_body)}"
    dora_id = stack.register(name)
    path, body = ("/user/users/", {"id": dora_id}) if by_body else (f"/user/users/{dora_id}/", {})

    listed = stack.call("GET", "/user/users/", token=admin).json()["results"]
    changed = stack.call(
        "PUT", path, token=admin, json={**body, "username": name, "email": "new@example.com", "role": "user"}
    )
    deleted = stack.call("DELETE", path, token=admin, json=body)

    assert name in [account["username"] for account in listed]
    assert (changed.status_code, changed.json()["email"]) == (200, "new@example.com")
    assert deleted.status_code == 204
    assert stack.call("POST", "/token/", json={"username": name, "password": PASSWORD}).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/user/register"),
        ("POST", "/token"),
        ("POST", "/token/refresh"),
        ("GET", "/user/users"),
        ("PUT", "/user/users"),
        ("DELETE", "/user/users"),
        ("GET", "/user/users/1"),
        ("PUT", "/user/users/1"),
        ("GET", "/task/tasks?status=completed"),
        ("POST", "/task/tasks"),
        ("GET", "/task/tasks/1"),
        ("PUT", "/task/tasks/1"),
        ("DELETE", "/task/tasks/1"),
    ],
)
def test_original_endpoints_work_with_and_without_a_slash(stack, method, path):
    path, _, query = path.partition("?")

    without = stack.call(method, f"{path}?{query}", json={})
    with_slash = stack.call(method, f"{path}/?{query}", json={})

    assert without.status_code == with_slash.status_code in (400, 401)  # found, but without a body or a token
    assert without.json()["code"] == with_slash.json()["code"]
