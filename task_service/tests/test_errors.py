from http import HTTPStatus

import pytest

from tests.conftest import TASKS, task_url

pytestmark = pytest.mark.django_db

KEYS = {"type", "title", "status", "detail", "code", "instance", "request_id", "errors"}
UNKNOWN_ASSIGNEE = {"title": "x", "assigned_to": 102}


@pytest.mark.parametrize(
    ("who", "method", "path", "body", "status", "code"),
    [
        ("ada", "post", TASKS, {}, 400, "invalid"),
        ("ada", "post", TASKS, [], 400, "invalid"),
        ("ada", "get", f"{TASKS}?x=1", None, 400, "invalid"),
        ("charlie", "get", TASKS, None, 401, "token_invalid"),
        ("alice", "post", TASKS, {"title": "x"}, 403, "permission_denied"),
        ("alice", "get", f"{TASKS}1/", None, 404, "not_found"),
        ("alice", "get", '/task/%ff%00\u202e"<b>/', None, 404, "not_found"),
        ("alice", "get", "/admin/", None, 404, "not_found"),
        ("ada", "post", f"{TASKS}1/", {}, 405, "method_not_allowed"),
        ("ada", "post", TASKS, {"title": "x" * 1024 * 1024}, 413, "payload_too_large"),
        ("ada", "post", TASKS, UNKNOWN_ASSIGNEE, 503, "service_unavailable"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_all_errors_have_the_same_format(request, who, method, path, body, status, code):
    answer = getattr(request.getfixturevalue(who), method)(path, body)

    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert problem.keys() == KEYS
    assert answer.status_code == problem["status"] == status
    assert (problem["type"], problem["title"]) == ("about:blank", HTTPStatus(status).phrase)
    assert (problem["code"], problem["instance"]) == (code, answer.wsgi_request.path)
    assert problem["request_id"] == answer["X-Request-ID"]
    assert bool(problem["errors"]) == (status == 400)
    assert all(error.keys() == {"field", "code", "detail"} for error in problem["errors"])
    assert "ErrorDetail" not in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("get", TASKS, 200), ("head", TASKS, 200), ("post", TASKS, 201), ("delete", TASKS, 405)),
        *(("get", "{task}", 200), ("head", "{task}", 200), ("put", "{task}", 200), ("patch", "{task}", 200)),
        *(("delete", "{task}", 204), ("post", "{task}", 405), ("get", "/task/health/live/", 200)),
    ],
)
def test_the_trailing_slash_is_optional(ada, create_task, method, path, status):
    url = path.format(task=task_url(create_task())).rstrip("/")

    answer = getattr(ada, method)(url, None if method in ("get", "head") else {"title": "Feed the cat"})

    assert answer.status_code == status
