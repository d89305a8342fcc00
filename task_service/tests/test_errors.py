from http import HTTPStatus

import pytest

from tasks.models import Task

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"
KEYS = {"type", "title", "status", "detail", "code", "instance", "request_id", "errors"}


@pytest.mark.parametrize(
    ("who", "method", "path", "body", "status", "code"),
    [
        ("ada", "post", TASKS, {"title": ""}, 400, "invalid"),
        ("ada", "post", TASKS, {}, 400, "invalid"),
        ("ada", "post", TASKS, [], 400, "invalid"),
        ("ada", "get", f"{TASKS}?x=1", None, 400, "invalid"),
        ("ada", "get", f"{TASKS}?cursor=x", None, 400, "invalid"),
        ("charlie", "get", TASKS, None, 401, "token_invalid"),
        ("alice", "post", TASKS, {"title": "x"}, 403, "permission_denied"),
        ("alice", "get", f"{TASKS}1/", None, 404, "not_found"),
        ("alice", "get", f"{TASKS}0/", None, 404, "not_found"),
        ("alice", "get", '/task/%ff%00\u202e"<b>/', None, 404, "not_found"),
        ("alice", "get", "/admin/", None, 404, "not_found"),
        ("ada", "put", TASKS, {}, 405, "method_not_allowed"),
        ("ada", "post", f"{TASKS}1/", {}, 405, "method_not_allowed"),
        ("ada", "post", TASKS, {"title": "x", "assigned_to": 102}, 503, "service_unavailable"),
    ],
)
def test_all_errors_have_the_same_format(request, who, method, path, body, status, code):
    person = request.getfixturevalue(who)

    answer = getattr(person, method)(path, body)

    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert problem.keys() == KEYS
    assert answer.status_code == problem["status"] == status
    assert (problem["type"], problem["title"]) == ("about:blank", HTTPStatus(status).phrase)
    assert problem["code"] == code
    assert problem["instance"] == answer.wsgi_request.path
    assert problem["request_id"] == answer["X-Request-ID"]
    assert bool(problem["errors"]) == (status == 400)
    assert all(error.keys() == {"field", "code", "detail"} for error in problem["errors"])
    assert isinstance(problem["detail"], str)
    assert "ErrorDetail" not in problem["detail"]


def test_401_has_www_authenticate(charlie):
    assert charlie.get(TASKS)["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("path", "methods", "allowed"),
    [
        (TASKS, ["put", "patch", "delete", "options", "trace"], {"GET", "HEAD", "POST"}),
        (f"{TASKS}1/", ["post", "options", "trace"], {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
    ],
)
def test_405_has_allow(ada, path, methods, allowed):
    for method in methods:
        answer = getattr(ada, method)(path)

        assert answer.status_code == 405
        assert set(answer["Allow"].split(", ")) == allowed


def test_503_has_retry_after(ada):
    answer = ada.post(TASKS, {"title": "Water", "assigned_to": 102})

    assert (answer.status_code, answer["Retry-After"]) == (503, "2")


def test_an_unexpected_error_reveals_nothing(ada, monkeypatch):
    def broken(self, caller):
        raise RuntimeError("the cellar is on fire")

    monkeypatch.setattr(type(Task.objects.all()), "visible_to", broken)
    ada.raise_request_exception = False

    answer = ada.get(TASKS)

    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert answer.json().keys() == KEYS
    assert b"cellar" not in answer.content


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("a.b_c-9", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ('a"b', False), ("é", False), ("", False)],
)
def test_a_valid_request_id_is_kept_and_others_are_replaced(ada, sent, kept):
    answer = ada.get(f"{TASKS}0/", HTTP_X_REQUEST_ID=sent)

    assert answer.json()["request_id"] == answer["X-Request-ID"]
    assert (answer["X-Request-ID"] == sent) == kept
    assert answer["X-Request-ID"].isascii()
    assert answer["X-Request-ID"] != ""


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", TASKS, None, 200),
        ("head", TASKS, None, 200),
        ("post", TASKS, {"title": "Feed the cat"}, 201),
        ("delete", TASKS, None, 405),
        ("get", "{task}", None, 200),
        ("head", "{task}", None, 200),
        ("put", "{task}", {"title": "Feed the cat"}, 200),
        ("patch", "{task}", {"title": "Feed the cat"}, 200),
        ("delete", "{task}", None, 204),
        ("post", "{task}", {}, 405),
        ("get", "/task/health/live/", None, 200),
    ],
)
def test_the_trailing_slash_is_optional(ada, create_task, method, path, body, status):
    task = create_task()
    url = path.format(task=f"{TASKS}{task.pk}/").rstrip("/")

    answer = getattr(ada, method)(url, body)

    assert answer.status_code == status
    if body and status < 300:
        assert Task.objects.filter(title="Feed the cat").count() == 1
