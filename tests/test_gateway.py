"""What the gateway forwards, and what it answers itself."""

import re
import time

import pytest
import requests

from stack.ports import has_ipv6
from tests.raw_http import connect, lines, parse, rest, send

INTERNAL = [
    *("/internal", "/internal/users/?ids=1", "//internal/users/", "/%69nternal/users/", "/%2finternal/users/"),
    *("/x/../internal/users/", "/x%2f..%2finternal/users/", "/./internal/users/", "/internal%2fusers/"),
    *("/INTERNAL/users/", "/internal;/users/", "/user/../internal/users/", "/user/..;/internal/users/"),
    *("/user/%2e%2e/internal/users/", "/user/..%2finternal/users/", "/user//internal/users/"),
    *("//user/internal/users/", "//task/../internal/users/", "/user/#/../../internal/users/"),
    *("/internal/users/#/../../../user/me/", "/internal/users/%3f/../../../user/me/"),
    *("/internal/users/..%2f..%2f../user/me/", "/internal/users/;/../../../user/me/"),
    *("/user/%252e%252e/internal/users/", "/user\\..\\internal\\users/", "/user/.%00./internal/users/"),
    *("http://localhost/internal/users/", "http://localhost//internal/users/", "http://internal/internal/users/"),
    *("/user/internal/users/", "/task/internal/users/", "/token/../internal/users/changes/", "/metrics"),
    *("/metrics/", "//metrics/", "/%6detrics/", "/user/../metrics/", "/user/..%2fmetrics/", "//task/metrics/"),
]


def test_localhost_answers_on_ipv4_and_ipv6(stack):
    addresses = ["127.0.0.1", *(["[::1]"] if has_ipv6() else [])]

    answers = [requests.get(f"http://{address}:{stack.port}/task/health/ready/", timeout=10) for address in addresses]

    assert [answer.status_code for answer in answers] == [200] * len(addresses)


@pytest.mark.parametrize("path", INTERNAL)
def test_internal_routes_do_not_exist_in_any_spelling(stack, path):
    problem = send(stack.port, lines("GET", path))

    assert problem.status in (400, 404, 421)
    assert problem["Content-Type"] == "application/problem+json"


HIDDEN = [
    *("/", "/.env", "/.git/config", "/admin/", "/static/../.env", "/logs/notifications.log", "/secrets.json", "/users"),
    *("/_problem", "/_no_answer", "/TASK/tasks/", "/token.php", "/health/", "/health/live/x", "/nginx_status"),
]


@pytest.mark.parametrize("path", HIDDEN)
def test_an_unknown_path_is_a_404_problem(stack, path):
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


SPELLINGS = [
    *("/user%2fme/", "/user/%6de/", "/user/me%2F", "//user/me/", "/user//me/", "/./user/me/", "/user/./me/"),
    *("/user/x/../me/", "/user/me/.", "/user/me/..", "/user/me//", "/user/me/%20", "/user/me/%0a", "/%75ser/me/"),
    *("/task%2ftasks/", "/task/tasks/%31/", "/task/tasks/1;a=b/", "/task/tasks/1:/", "/task/.tasks/", "//token/"),
    *("/token%2f", "/token/%72efresh/", "/%64ocs/", "//docs/", "/docs%2f", "/health/live%2f", "/health//live/"),
    *("/user/%64ocs/", "/user/static/../docs/", "/user/health%2flive/", "//user/health/live/", "/user/me/\xe9"),
]


@pytest.mark.parametrize("path", SPELLINGS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_has_one_spelling(stack, method, path):
    problem = send(stack.port, lines(method, path))

    assert (problem.status, problem.json()["code"]) == (404, "not_found")
    assert "instance" not in problem.json()  # no service was called


def test_absolute_urls_and_encoded_queries_are_accepted(stack):
    paths = ("http://localhost/user/me/", "/user/me/?a=%2f//../.", "/user/me?%25")

    assert [send(stack.port, lines("GET", path)).status for path in paths] == [401] * 3


NO_SUCH_PATHS = [
    *("/user/", "/user", "/user/nothing/", "/user/mee/", "/user/users.json", "/task/", "/task/task/", "/task/tasksx/"),
    *("/token/nothing/", "/token/refresh/x/", "/tokens/", "/user/health/", "/user/health/x/", "/user/docs/x"),
    *("/user/swagger.xml", "/user/swaggerXjson", "/user/static", "/token/docs/", "/token/health/live/"),
]


@pytest.mark.parametrize("path", NO_SUCH_PATHS)
def test_the_gateway_refuses_paths_that_no_service_has(stack, path):
    problem = send(stack.port, lines("GET", path))

    assert (problem.status, "instance" in problem.json()) == (404, False)


@pytest.mark.parametrize("service", ["user", "task"])
def test_every_documented_path_reaches_its_service(stack, service):
    document = stack.call("GET", f"/{service}/swagger.json").json()
    paths = [document["basePath"].rstrip("/") + path for path in document["paths"]]
    assert len(paths) > 8

    for path in paths:
        answer = stack.call("PUT", re.sub(r"\{[a-z_]+\}", "1", path), json={})

        assert answer.status_code in (401, 405)
        assert answer.json()["instance"]


OWN_PAGES = [(path, "localhost") for path in ("/docs/", "/docs", "/health/live/", "/health/live")]
METHODS = ["TRACE", "PROPFIND", "MKCOL", "COPY", "LOCK", "SEARCH", "PURGE", "FOO", "M-SEARCH"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/user/me/", "/task/tasks/", "/token/", "/user/register/"])
def test_the_gateway_refuses_methods_that_no_route_has(stack, method, path):
    problem = send(stack.port, lines(method, path))

    assert (problem.status, problem.json()["code"]) == (405, "method_not_allowed")
    assert problem.all("Allow") == ["GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]
    assert "instance" not in problem.json()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"])
@pytest.mark.parametrize(("path", "host"), [*OWN_PAGES, ("/health/live/", "unknown.example.com")])
def test_the_gateways_own_pages_are_read_only(stack, method, path, host):
    problem = send(stack.port, lines(method, path, Host=host))

    assert (problem.status, problem.json()["code"]) == (405, "method_not_allowed")
    assert problem.all("Allow") == ["GET, HEAD"]


@pytest.mark.parametrize(("path", "host"), OWN_PAGES)
def test_the_gateways_own_pages_answer_head(stack, path, host):
    head, page = (send(stack.port, lines(method, path, Host=host)) for method in ("HEAD", "GET"))

    assert (head.status, head.body, head["Content-Length"]) == (200, b"", page["Content-Length"])


SENT_ONCE = [
    *("Strict-Transport-Security", "X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy"),
    "X-Request-ID",
]
NGINX_ERRORS = {
    "an address it cannot read": (lines("GET", "/%00/"), 400, "bad_request"),
    "no host": (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400, "bad_request"),
    "no host in HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", 421, "misdirected_request"),
    "two hosts": (lines("GET", "/").replace(b"Host", b"Host: a\r\nHost"), 400, "bad_request"),
    "another host": (lines("GET", "/user/me/", Host="evil.example.com"), 421, "misdirected_request"),
    "no such path": (lines("GET", "/nothing"), 404, "not_found"),
    "a method for proxies": (lines("TRACE", "/user/me/"), 405, "method_not_allowed"),
    "a large body": (lines("POST", "/token/", b"x" * 1_048_577), 413, "payload_too_large"),
    "a long address": (lines("GET", "/user/" + "a" * 8200), 414, "uri_too_long"),
    "a long header": (lines("GET", "/user/me/", X_Long="a" * 9000), 431, "headers_too_large"),
    "200 headers": (
        lines("GET", "/user/me/", **{f"X_{number}": "a" for number in range(200)}),
        431,
        "headers_too_large",
    ),
    "an unknown encoding": (lines("POST", "/token/", Transfer_Encoding="br"), 501, "not_implemented"),
    "another version": (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, "http_version_not_supported"),
}


@pytest.mark.parametrize(("request_", "status", "code"), NGINX_ERRORS.values(), ids=NGINX_ERRORS)
def test_errors_of_nginx_are_problems(stack, request_, status, code):
    problem = send(stack.port, request_)

    assert (problem.status, problem["Content-Type"]) == (status, "application/problem+json")
    assert problem.json().keys() == {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert (problem.json()["status"], problem.json()["code"]) == (status, code)
    assert problem.all("X-Request-ID") == [problem.json()["request_id"]]
    assert is_protected(problem)
    assert problem.all("Access-Control-Allow-Origin") == []


def is_protected(message):
    assert [name for name in SENT_ONCE if len(message.all(name)) != 1] == []
    assert message["X-Content-Type-Options"] == "nosniff"
    return message.all("Server") == ["nginx"]


def test_service_responses_have_security_headers(stack):
    token = stack.admin_token()

    answers = [
        send(stack.port, lines("GET", path, Authorization=f"Bearer {token}", Origin="https://evil.example.com"))
        for path in ("/user/users/", "/task/tasks/", "/task/nothing", "/user/health/live/", "/health/live/")
    ]

    assert [it.status for it in answers] == [200, 200, 404, 200, 200]
    assert [it.all("Cache-Control") for it in answers[:2]] == [["no-store"]] * 2
    assert all(is_protected(it) for it in answers)
    assert [it.all("Access-Control-Allow-Origin") for it in answers] == [[]] * 5


HIDDEN_REQUEST = b"GET /task/health/live/?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
LENGTH = str(len(HIDDEN_REQUEST))
UNCLEAR = {
    "a length and chunks": f"Content-Length: {LENGTH}\r\nTransfer-Encoding: chunked",
    "chunks and a length": "Transfer-Encoding: chunked\r\nContent-Length: 4",
    "two lengths": f"Content-Length: 0\r\nContent-Length: {LENGTH}",
    "a list of lengths": "Content-Length: 0, 0",
    "a length with a sign": "Content-Length: +0",
    "a negative length": "Content-Length: -1",
    "a length in hex": "Content-Length: 0x0",
    "a blank in the name": "Content-Length : 0",
    "an unknown encoding": "Transfer-Encoding: xchunked",
    "no encoding": "Transfer-Encoding: identity",
    "a blank before the encoding": "Transfer-Encoding : chunked",
    "a tab in the encoding": "Transfer-Encoding: \x0bchunked",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "a list of encodings": "Transfer-Encoding: gzip, chunked",
    "a folded header": "X: a\r\n Transfer-Encoding: chunked",
}


@pytest.mark.parametrize("headers", UNCLEAR.values(), ids=UNCLEAR)
def test_an_ambiguous_body_length_closes_the_connection(stack, headers):
    mark = f"unclear-{time.monotonic_ns()}"
    head = f"POST /token/ HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {mark}\r\n{headers}\r\n\r\n"
    with connect(stack.port) as connection:
        connection.sendall(head.encode() + HIDDEN_REQUEST)
        received = rest(connection)

    assert parse(received).status in (400, 501)
    assert received.count(b"HTTP/1.1 ") == 1
    assert parse(received)["Connection"] == "close"


def test_pipelined_requests_are_answered_in_order_until_close(stack):
    ids = ("first", "second", "third")
    keep = [lines("GET", "/nothing", X_Request_ID=it, Connection="keep-alive") for it in ids[:1]]
    closing = [lines("GET", "/user/health/live/", X_Request_ID=it) for it in ids[1:]]

    with connect(stack.port) as connection:
        connection.sendall(b"".join(keep + closing))
        received = rest(connection)

    first, second = received.index(b"X-Request-ID: first"), received.index(b"X-Request-ID: second")
    assert first < second
    assert received.count(b"HTTP/1.1 ") == 2


def test_head_and_errors_keep_the_connection_in_sync(stack):
    """After HEAD and after an error, the next request on the connection is read correctly."""
    head = lines("HEAD", "/nothing", Connection="keep-alive")
    refused = lines("POST", "/nothing", b"GET /smuggled HTTP/1.1", Connection="keep-alive")

    with connect(stack.port) as connection:
        connection.sendall(head + refused + lines("GET", "/health/live/"))
        received = rest(connection)

    assert received.count(b"HTTP/1.1 ") == 3
    assert received.endswith(b'{"status":"ok"}')


def test_only_a_valid_request_id_is_kept(stack):
    kept = stack.call("GET", "/task/tasks/", headers={"X-Request-ID": "my-request.1"})
    replaced = stack.call("GET", "/task/tasks/", headers={"X-Request-ID": 'a"b'})

    assert kept.headers["X-Request-ID"] == kept.json()["request_id"] == "my-request.1"
    assert replaced.headers["X-Request-ID"] == replaced.json()["request_id"] != 'a"b'


def test_a_large_body_within_the_limit_reaches_the_service(stack):
    """Nginx buffers the body in a file that its workers must be able to write."""
    answer = stack.call("PATCH", "/user/me/", token=stack.admin_token(), json={"username": "x" * 900_000})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "username")
