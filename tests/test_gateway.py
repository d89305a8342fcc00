"""What the gateway lets through, and what it answers itself."""

import socket

import pytest

INTERNAL = [
    "/internal",
    "/internal/users/?ids=1",
    "//internal/users/",
    "/%69nternal/users/",
    "/%2finternal/users/",
    "/x/../internal/users/",
    "/x%2f..%2finternal/users/",
    "/./internal/users/",
    "/internal%2fusers/",
    "/INTERNAL/users/",
    "/internal;/users/",
    "/user/../internal/users/",
    "/user/..;/internal/users/",
    "/user/%2e%2e/internal/users/",
    "/user/..%2finternal/users/",
    "/user//internal/users/",
]


def raw(stack, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are and return the status and the whole answer."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.parametrize("path", INTERNAL)
def test_internal_routes_do_not_exist_in_any_spelling(stack, path):
    status, answer = raw(stack, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    assert status in (400, 404)
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("path", ["/", "/.env", "/.git/config", "/admin/", "/metrics", "/media/files/task_updates.log"])
def test_what_is_not_named_is_a_problem_404(stack, path):
    answer = stack.call("GET", path)

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not found.",
        "code": "not_found",
        "request_id": answer.headers["X-Request-ID"],
        "errors": [],
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_request_nginx_cannot_read_is_a_problem_too(stack):
    status, answer = raw(stack, b"GET /%00/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert status == 400
    assert b'"code":"bad_request"' in answer


def test_a_sane_request_id_is_kept_and_an_insane_one_replaced(stack):
    kept = stack.call("GET", "/task/tasks/", headers={"X-Request-ID": "my-request.1"})
    replaced = stack.call("GET", "/task/tasks/", headers={"X-Request-ID": 'a"b'})

    assert kept.headers["X-Request-ID"] == kept.json()["request_id"] == "my-request.1"
    assert replaced.headers["X-Request-ID"] == replaced.json()["request_id"] != 'a"b'


def test_a_large_body_within_the_limit_reaches_the_service(stack):
    """Nginx keeps it in a file on the way, which its workers must be able to write."""
    answer = stack.call("POST", "/token/", json={"username": "x" * 900_000, "password": "y"})

    assert (answer.status_code, answer.json()["code"]) == (401, "credentials_invalid")


def test_answers_are_kept_out_of_caches_and_typed(stack):
    answer = stack.call("GET", "/task/tasks/", token=stack.admin_token())

    assert answer.headers["Cache-Control"] == "no-store"
    assert "Authorization" in answer.headers["Vary"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in answer.headers or answer.headers["Server"] == "nginx"
