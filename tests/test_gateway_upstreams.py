"""The gateway with slow, broken, full and dead services, and the headers it sends them."""

import time
from threading import Event

import pytest

from tests.local_stack import eventually
from tests.raw_http import FakeService, Gateway, answer, connections, hang_up, hold, lines, rest, send, send_garbage

ORIGIN = "https://app.example.com"
MAX_LOGINS = 32
MAX_CONCURRENT = 64  # max_conns of both entries of a replica


@pytest.fixture(scope="module")
def services():
    with FakeService() as users, FakeService() as tasks:
        yield {"user_service": users, "task_service": tasks}


@pytest.fixture(scope="module")
def gateway(services):
    addresses = {name: service.address for name, service in services.items()}
    settings = {"CORS_ALLOWED_ORIGINS": f"https://other.example.com,{ORIGIN}"}
    with Gateway(
        **addresses, settings=settings, changed={"proxy_read_timeout 30s": "proxy_read_timeout 1s"}
    ) as running:
        yield running


@pytest.fixture
def users(services):
    return services["user_service"].reset()


@pytest.fixture
def tasks(services):
    return services["task_service"].reset()


CLAIMS = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Server": "evil",
    "Forwarded": "for=6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "X-Client-IP": "6.6.6.6",
    "True-Client-IP": "6.6.6.6",
    "CF-Connecting-IP": "6.6.6.6",
    "X-Gateway-Client": "6.6.6.6",
    "X-Gateway-Secret": "guessed",
    "X-User-Id": "1",
    "Remote-User": "admin",
    "X-Original-URL": "/internal/users/",
    "X-Rewrite-URL": "/internal/users/",
    "X-HTTP-Method-Override": "DELETE",
    "Proxy": "http://evil.example.com",
    "X_User_Id": "1",
    "X-Request-Start": "t=1",
}
GATEWAY_HEADERS = {"X-Forwarded-For": "127.0.0.1", "X-Gateway-Client": "127.0.0.1", "X-Forwarded-Proto": "http"}


@pytest.mark.parametrize("spelling", [str, str.lower, str.upper], ids=["usual", "lower", "upper"])
def test_identity_headers_from_a_client_are_replaced(gateway, tasks, spelling):
    before = int(time.time())  # Nginx reads its clock once per event
    head = "".join(f"{spelling(name)}: {value}\r\n" for name, value in CLAIMS.items())
    send(gateway.port, f"GET /task/tasks/ HTTP/1.1\r\nHost: localhost:80\r\n{head}Connection: close\r\n\r\n".encode())

    (request,) = tasks.requests
    sent = {name: request.all(name) for name in CLAIMS}
    (started,) = sent.pop("X-Request-Start")
    assert sent == {name: [GATEWAY_HEADERS[name]] if name in GATEWAY_HEADERS else [] for name in sent}
    assert before <= float(started.removeprefix("t=")) <= time.time()
    assert request.all("Host") == ["localhost"]


def test_the_request_is_forwarded_unchanged(gateway, users):
    gateway.call("PUT", "/user/users/7?q=%C3%A4&q=2", b"[1]", Authorization="Bearer x", If_Match='"3"')

    (request,) = users.requests
    assert request.start.startswith("PUT /user/users/7?q=%C3%A4&q=2 HTTP/1.1")
    assert (request.body, request["Authorization"], request["If-Match"]) == (b"[1]", "Bearer x", '"3"')


UNNAMED = [
    *("/", "/internal/users/", "/internal/users/user/", "/internal/task", "/internal/users/?x=/user/", "/x/user/me/"),
    *("/users/", "/xuser/me/", "/User/me/", "/tasks/", "/tokens/", "/metrics/", "/metrics/task/", "/user.json"),
    *("/user/../internal/users/", "/user/%2e%2e/internal/users/", "/user/..%2finternal/users/"),
]


@pytest.mark.parametrize("path", UNNAMED)
def test_unknown_paths_reach_no_service(gateway, users, tasks, path):
    problems = [gateway.call(method, path) for method in ("GET", "POST", "OPTIONS")]

    assert {it.status for it in problems} <= {400, 404}
    assert users.requests == tasks.requests == []


KEYED = ["/task/tasks", "/task/tasks/", "/user/users", "/user/users/"]
NOT_SENT_TWICE = {
    "a POST without a key": ("POST", "/task/tasks/", {}),
    "a POST with a blank key": ("POST", "/task/tasks/", {"Idempotency_Key": " "}),
    "a POST with a key that is none": ("POST", "/task/tasks/", {"Idempotency_Key": "a b"}),
    "a PATCH": ("PATCH", "/task/tasks/1/", {}),
    "a PATCH with a key": ("PATCH", "/task/tasks/", {"Idempotency_Key": "k"}),
    "a bulk change with a key": ("POST", "/task/tasks/bulk/", {"Idempotency_Key": "k"}),
    "a registration with a key": ("POST", "/user/register/", {"Idempotency_Key": "k"}),
    "a sign-in with a key": ("POST", "/token/", {"Idempotency_Key": "k"}),
}


@pytest.mark.parametrize(("method", "path", "headers"), NOT_SENT_TWICE.values(), ids=NOT_SENT_TWICE)
def test_a_non_idempotent_request_is_sent_once(gateway, users, tasks, method, path, headers):
    users.behavior = tasks.behavior = hang_up

    refused = gateway.call(method, path, b"{}", **headers)

    assert (refused.status, refused.json()["code"]) == (502, "bad_gateway")
    assert len(users.requests + tasks.requests) == 1


@pytest.mark.parametrize("path", KEYED)
def test_a_keyed_post_is_retried_once(gateway, users, tasks, path):
    service = users if path.startswith("/user") else tasks
    service.behaviors = [hang_up, answer("201 Created", b'{"id":1}', Location="/x")]

    created = gateway.call("POST", f"{path}?a=1", b'{"title":"x"}', Idempotency_Key="k-1")

    assert (created.status, created.body, created["Location"]) == (201, b'{"id":1}', "/x")
    assert service.paths() == [f"{path}?a=1"] * 2
    assert [(it.body, it["Idempotency-Key"]) for it in service.requests] == [(b'{"title":"x"}', "k-1")] * 2


def test_a_get_is_retried_once(gateway, tasks):
    tasks.behavior = hang_up

    refused = gateway.call("GET", "/task/tasks/")

    assert (refused.status, len(tasks.requests)) == (502, 2)


def test_an_error_from_a_service_is_passed_through(gateway, tasks):
    tasks.behavior = answer("503 Service Unavailable", b'{"code":"not_ready"}', Retry_After="7")

    passed = gateway.call("GET", "/task/health/ready/")

    assert (passed.status, passed.json(), len(tasks.requests)) == (503, {"code": "not_ready"}, 1)
    assert passed.all("Retry-After") == ["7"]


def test_a_service_cannot_redirect_the_gateway_internally(gateway, users, tasks):
    tasks.behavior = answer(body=b"[]", X_Accel_Redirect="/user/me/")

    assert (gateway.call("GET", "/task/tasks/").body, users.requests) == (b"[]", [])


BROKEN = {
    "hangs up": (hang_up, 502, "bad_gateway", "2"),
    "babbles": (send_garbage, 502, "bad_gateway", "2"),
    "sends too large a header": (answer(X_Large="x" * 20_000), 502, "bad_gateway", "2"),
    "does not answer": (hold(Event()), 504, "gateway_timeout", "2"),
}


@pytest.mark.parametrize(("behavior", "status", "code", "wait"), BROKEN.values(), ids=BROKEN)
def test_a_broken_service_is_a_gateway_problem(gateway, tasks, behavior, status, code, wait):
    tasks.behavior = behavior

    problem = gateway.call("GET", "/task/tasks/", Origin=ORIGIN)

    assert (problem.status, problem["Content-Type"]) == (status, "application/problem+json")
    assert problem.json().keys() == {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert (problem.json()["status"], problem.json()["code"]) == (status, code)
    assert problem.all("Retry-After") == [wait]
    assert problem.all("X-Content-Type-Options") == ["nosniff"]
    assert problem.all("X-Request-ID") == [problem.json()["request_id"]]
    assert problem.all("Access-Control-Allow-Origin") == [ORIGIN]


def test_a_dead_service_is_a_problem_and_the_other_serves(services):
    gone = FakeService()
    gone.close()
    with Gateway(user_service=services["user_service"].address, task_service=gone.address) as running:
        read, written = running.call("GET", "/task/tasks/"), running.call("POST", "/task/tasks/", b"{}")
        other = running.call("GET", "/user/me/")

    assert [(it.status, it.json()["code"]) for it in (read, written)] == [(502, "bad_gateway")] * 2
    assert other.status == 200


def test_excess_requests_are_refused_while_workers_are_busy(services):
    until, tasks = Event(), FakeService()
    tasks.behavior = hold(until)
    with (
        Gateway(user_service=services["user_service"].address, task_service=tasks.address) as running,
        connections(
            running.port, MAX_CONCURRENT, each_sends=lines("GET", "/task/tasks/"), clients=MAX_CONCURRENT
        ) as waiting,
    ):
        eventually(lambda: len(tasks.requests) == MAX_CONCURRENT)

        keyed = running.call("POST", "/task/tasks/", b"{}", Idempotency_Key="k")
        refused = [running.call("GET", "/task/tasks/"), keyed]
        other = running.call("GET", "/user/me/")
        until.set()
        served = [rest(connection).split(b"\r\n")[0] for connection in waiting]
        afterwards = running.call("GET", "/task/tasks/")
    tasks.close()

    assert [(it.status, it.json()["code"], it.all("Retry-After")) for it in refused] == [(503, "overloaded", ["1"])] * 2
    assert (other.status, afterwards.status) == (200, 200)
    assert set(served) == {b"HTTP/1.1 200 OK"}
    assert len(tasks.requests) == MAX_CONCURRENT + 1


@pytest.mark.parametrize("path", ["/token/", "/user/register", "/user/password-reset/confirm/"])
def test_many_logins_at_once_leave_places_for_other_requests(services, path):
    until, users = Event(), FakeService()
    users.behavior = hold(until)
    with (
        Gateway(user_service=users.address, task_service=services["task_service"].address) as running,
        connections(running.port, MAX_LOGINS, each_sends=lines("POST", path, b"{}"), clients=MAX_LOGINS),
    ):
        eventually(lambda: len(users.requests) == MAX_LOGINS)
        users.behavior = answer()

        refused = running.call("POST", path, b"{}")
        others = [running.call("GET", "/user/me/"), running.call("POST", "/token/refresh/", b"{}")]
        until.set()
    users.close()

    assert (refused.status, refused.json()["code"], refused.all("Retry-After")) == (503, "overloaded", ["1"])
    assert [it.status for it in others] == [200, 200]


def test_only_a_trusted_proxy_can_name_the_client(services):
    settings = {"TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}
    addresses = {name: service.address for name, service in services.items()}
    forged = "6.6.6.6, 203.0.113.9, 10.1.2.3"
    tasks = services["task_service"].reset()
    with Gateway(**addresses, settings=settings) as running:
        running.call("GET", "/task/tasks/", X_Forwarded_For=forged)
        running.call("GET", "/task/tasks/", X_Forwarded_For=forged, source="127.0.0.2")
        running.call("GET", "/task/tasks/")
        assert running.logged(client="203.0.113.9")

    assert [request.all("X-Forwarded-For") for request in tasks.requests] == [
        ["203.0.113.9"],
        ["127.0.0.2"],
        ["127.0.0.1"],
    ]


@pytest.mark.parametrize("path", ["/task/tasks/", "/task/docs/"])
def test_only_the_gateway_can_send_the_secret(services, path):
    secret = "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5+/="
    addresses = {name: service.address for name, service in services.items()}
    tasks = services["task_service"].reset()
    with Gateway(**addresses, settings={"GATEWAY_SECRET": secret}) as running:
        running.call("GET", path, X_Gateway_Secret="guessed", X_Gateway_Client="6.6.6.6", Cache_Control="no-cache")

    (request,) = tasks.requests
    assert (request.all("X-Gateway-Secret"), request.all("X-Gateway-Client")) == ([secret], ["127.0.0.1"])


PROTECTION = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def test_missing_security_headers_are_added(gateway, tasks):
    passed = gateway.call("GET", "/task/tasks/")

    assert {name: passed.all(name) for name in PROTECTION} == {name: [it] for name, it in PROTECTION.items()}
    assert passed.all("Server") == ["nginx"]


@pytest.mark.parametrize("header", [*PROTECTION, "X-Request-ID", "Cache-Control"])
def test_security_headers_from_a_service_are_not_duplicated(gateway, tasks, header):
    tasks.behavior = answer(**{header: "of-the-service"})

    assert gateway.call("GET", "/task/tasks/").all(header) == ["of-the-service"]


def test_the_gateway_adds_no_cors_header_to_service_responses(gateway, tasks):
    passed = gateway.call("GET", "/task/tasks/", Origin=ORIGIN)

    assert passed.all("Access-Control-Allow-Origin") == []


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.com.evil.com", "http://app.example.com", "null", f"{ORIGIN},{ORIGIN}", "*"],
)
def test_an_unknown_origin_cannot_read_gateway_problems(gateway, origin):
    problem = gateway.call("GET", "/nothing", Origin=origin)

    assert problem.all("Access-Control-Allow-Origin") == problem.all("Access-Control-Expose-Headers") == []
    assert problem.all("Vary") == ["Origin"]


def test_an_allowed_origin_can_read_gateway_problems(gateway):
    problem = gateway.call("GET", "/nothing", Origin=ORIGIN)

    assert problem.all("Access-Control-Allow-Origin") == [ORIGIN]
    assert problem.all("Access-Control-Expose-Headers") == ["Retry-After, X-Request-ID"]
    assert problem.all("Access-Control-Allow-Credentials") == []
