"""Bad input gets a clear error that names what is wrong, and changes nothing."""

import pytest

PROBLEM = {"type", "title", "status", "detail", "code", "instance", "request_id", "errors"}


@pytest.fixture(scope="module")
def admin(stack):
    return stack.admin_token()


def everything(stack, admin):
    """Return all stored data that an admin can see."""
    pages = ("/task/tasks/?page_size=100", "/user/users/?page_size=100")
    return [stack.call("GET", page, token=admin).json() for page in pages]


BAD_TASKS = {
    "an unknown field": ({"title": "x", "asigned_to": 1}, "asigned_to", "did you mean assigned_to?"),
    "an unknown assignee": ({"title": "x", "assigned_to": 999_999}, "assigned_to", "There is no user 999999."),
    "a field set by the server": ({"title": "x", "version": 7}, "version", "Is set by the server"),
}


@pytest.mark.parametrize(("body", "field", "detail"), BAD_TASKS.values(), ids=BAD_TASKS)
def test_an_invalid_task_is_400_and_names_the_field(stack, admin, body, field, detail):
    before = everything(stack, admin)

    answer = stack.call("POST", "/task/tasks/", token=admin, json=body)

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json().keys() == PROBLEM
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert detail in error["detail"]
    assert everything(stack, admin) == before


BAD_BODIES = {
    "cut off": (b'{"title": "x"', 400, "line 1, column 14"),
    "one key twice": (b'{"title": "x", "title": "y"}', 400, '"title" appears twice'),
    "too large": (b'{"title": "' + b"x" * 1_100_000 + b'"}', 413, "larger than 1 MB"),
}


@pytest.mark.parametrize(("body", "status", "detail"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_malformed_body_is_refused_with_its_position(stack, admin, body, status, detail):
    before = everything(stack, admin)

    answer = stack.call("POST", "/task/tasks", token=admin, data=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert everything(stack, admin) == before


def test_a_secret_is_neither_returned_nor_logged(stack):
    stack.call("POST", "/token/", json={"username": "admin", "password": "hunter2-hunter2"})
    stack.call("POST", "/user/register/", json={"username": "x y", "email": "e", "password": "hunter2-hunter2"})

    assert "hunter2" not in stack.logs()
