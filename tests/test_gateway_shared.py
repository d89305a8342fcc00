"""Documentation and health: shared responses from a cache, with separate connection slots."""

import time
from threading import Event

import pytest

from tests.local_stack import eventually
from tests.raw_http import FakeService, Gateway, answer, connections, hang_up, hold, lines

HEALTH = [f"/{service}/health/{kind}/" for service in ("user", "task") for kind in ("live", "ready")]
PAGES = [f"/{service}/{page}" for service in ("user", "task") for page in ("docs/", "redoc/", "swagger.json")]
FILES = ["/user/static/drf-yasg/swagger-ui-dist/swagger-ui.css", "/task/static/tmservice/start.js"]
SLOTS = 64
ORIGIN = "https://app.example.com"


@pytest.fixture
def service():
    with FakeService() as running:
        yield running


@pytest.fixture
def gateway(service):
    settings = {"CORS_ALLOWED_ORIGINS": ORIGIN}
    with Gateway(user_service=service.address, task_service=service.address, settings=settings) as running:
        yield running


@pytest.mark.parametrize("path", [*PAGES, *FILES])
def test_a_page_is_fetched_once(gateway, service, path):
    service.behavior = answer(body=b"<html>", Cache_Control="no-cache", Vary="Authorization", X_Request_ID="the-first")

    answers = [
        gateway.call(method, f"{path}?{number}", X_Request_ID=f"own-{number}", User_Agent=f"browser {number}")
        for number, method in enumerate(("HEAD", "GET", "GET"))
    ]

    assert [(it.status, it.body) for it in answers] == [(200, b""), (200, b"<html>"), (200, b"<html>")]
    assert [it.all("X-Request-ID") for it in answers] == [["own-0"], ["own-1"], ["own-2"]]
    assert {it["Cache-Control"] for it in answers} == {"no-cache"}
    assert service.paths() == [path]


@pytest.mark.parametrize("path", HEALTH[1:3])
def test_health_is_fetched_once_a_second_and_never_stale(gateway, service, path):
    began = int(time.time())
    answers = [gateway.call("GET", path) for _ in range(50)]
    asked, seconds = len(service.requests), int(time.time()) - began + 1
    service.behavior = answer("503 Service Unavailable", b'{"code":"not_ready"}', Retry_After="2")

    eventually(lambda: gateway.call("GET", path).status == 503)
    afterwards = [gateway.call("GET", path) for _ in range(3)]

    assert {(it.status, it.body) for it in answers} == {(200, b"{}")}
    assert 1 <= asked <= seconds + 1
    assert {(it.status, it.body) for it in afterwards} == {(503, b'{"code":"not_ready"}')}
    service.behavior = answer()
    assert gateway.call("GET", path).status == 200  # errors are not cached


@pytest.mark.parametrize("path", [HEALTH[1], PAGES[0]])
@pytest.mark.parametrize("header", [{"Authorization": "Bearer x"}, {"Cache_Control": "no-cache"}])
def test_a_token_or_no_cache_bypasses_the_cache(gateway, service, path, header):
    gateway.call("GET", path)
    service.behavior = answer(body=b'"personal"')

    personal = [gateway.call("GET", path, **header) for _ in range(2)]
    service.behavior = answer()

    assert [it.body for it in personal] == [b'"personal"'] * 2
    assert gateway.call("GET", path).body == b"{}"
    assert [it["X-Forwarded-For"] for it in service.requests[1:3]] == ["127.0.0.1"] * 2


def test_shared_responses_are_fetched_without_client_headers(gateway, service):
    gateway.call("GET", "/task/health/ready/", Origin="https://evil.example.com")

    (request,) = service.requests
    assert (request.all("X-Forwarded-For"), request.all("Origin")) == (["0.0.0.0"], [])


def test_each_allowed_origin_is_cached_separately(gateway, service):
    service.behavior = answer(Access_Control_Allow_Origin=ORIGIN)
    listed = gateway.call("GET", "/task/docs/", Origin=ORIGIN)
    service.behavior = answer()

    assert listed.all("Access-Control-Allow-Origin") == [ORIGIN]
    assert gateway.call("GET", "/task/docs/").all("Access-Control-Allow-Origin") == []
    assert gateway.call("GET", "/task/docs/", Origin=ORIGIN).all("Access-Control-Allow-Origin") == [ORIGIN]
    assert [request["Origin"] for request in service.requests] == [ORIGIN, None]


NOT_CACHED = {
    "a cookie": answer(Set_Cookie="session=1"),
    "an error": answer("500 Internal Server Error"),
    "a refusal": answer("404 Not Found"),
    "a redirect": answer("302 Found", Location="/x"),
}


@pytest.mark.parametrize("behavior", NOT_CACHED.values(), ids=NOT_CACHED)
@pytest.mark.parametrize("path", ["/task/health/ready/", "/task/docs/"])
def test_responses_for_one_client_are_not_cached(gateway, service, path, behavior):
    service.behavior = behavior
    gateway.call("GET", path)
    gateway.call("GET", path)

    assert len(service.requests) == 2


@pytest.mark.parametrize("path", ["/task/tasks/", "/user/me/", "/user/users/", "/token/jwks/", "/user/audit/"])
def test_other_responses_are_not_cached(gateway, service, path):
    service.behavior = answer(Cache_Control="public, max-age=60")

    gateway.call("GET", path)
    gateway.call("GET", path)

    assert len(service.requests) == 2


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/task/docs/", "/user/health/ready/"])
def test_cached_pages_are_read_only(gateway, service, method, path):
    refused = gateway.call(method, path)

    assert (refused.status, refused.json()["code"]) == (405, "method_not_allowed")
    assert refused.all("Allow") == ["GET, HEAD"]
    assert service.requests == []


def test_cached_pages_are_served_while_the_service_is_full(gateway, service):
    until = Event()
    service.behavior = hold(until)
    call = lines("GET", "/task/tasks/")
    with connections(gateway.port, SLOTS, each_sends=call, clients=SLOTS):
        eventually(lambda: len(service.requests) == SLOTS)
        service.behavior = answer()
        others = gateway.call("GET", "/task/tasks/")
        shared = [gateway.call("GET", path).status for path in (*HEALTH, *PAGES)]
        until.set()

    assert (others.status, others.json()["code"]) == (503, "overloaded")
    assert shared == [200] * 10


def test_a_cached_page_is_served_while_the_service_is_down(gateway, service):
    gateway.call("GET", "/task/docs/")
    service.behavior = hang_up

    assert gateway.call("GET", "/task/docs/").status == 200
    problem = gateway.call("GET", "/task/redoc/")
    assert (problem.status, problem.all("X-Request-ID")) == (502, [problem.json()["request_id"]])
