"""CORS: only allowed origins can read responses, and none with credentials."""

import pytest
from django.test import Client

from chassis.models import Window
from chassis.testing.limiting import read_limit, set_limits

APP, LOCAL = "https://app.example.com", "http://localhost:3000"
# Look the same as an allowed origin, or similar.
OTHERS = [
    *("https://app.evil", "https://evil.example.com", "http://app.example.com", "https://app.example.com:8443"),
    *("https://app.example.com.evil", "https://evil-app.example.com", "https://xapp.example.com", "app.example.com"),
    *("https://example.com", "https://app.example.com@evil", "https://user@app.example.com", "https://app-example.com"),
    *("https://evil#app.example.com", "https://app\u0435.example.com", "https://app.example.com.", "null", "*", ""),
    *("http://localhost:3001", "http://localhost", "https://", "https://[", "file://", "chrome-extension://app", " "),
]
ALLOW = "Access-Control-Allow-"
EXPOSED = {"ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"}


@pytest.fixture(autouse=True)
def _origins(settings):
    settings.CORS_ALLOWED_ORIGINS = [APP, LOCAL]


def ask(origin, method="GET", path="/echo/", **headers):
    return Client(raise_request_exception=False).generic(
        method, path, b"{}", content_type="application/json", headers={"Origin": origin} | headers
    )


def preflight(origin, path="/echo/", *, method="POST"):
    headers = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    return ask(origin, "OPTIONS", path, **headers)


def cors_headers(answer):
    return {name for name in answer.headers if name.lower().startswith("access-control-")}


def listed(answer, name):
    return set(answer.headers[name].split(", "))


def assert_varies(answer):
    assert "origin" in {each.lower() for each in listed(answer, "Vary")}


@pytest.mark.parametrize("origin", [APP, LOCAL])
@pytest.mark.parametrize("path", ["/echo/", "/who-am-i/"])
def test_a_preflight_of_an_allowed_origin_is_not_counted(settings, origin, path):
    """This test has no database, so nothing can be counted."""
    set_limits(settings, anon="1/min")

    answer = preflight(origin, path)

    assert (answer.status_code, answer.content, "RateLimit" in answer.headers) == (200, b"", False)
    assert answer.headers[f"{ALLOW}Origin"] == origin
    assert listed(answer, f"{ALLOW}Methods") == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    wanted = {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "x-request-id"}
    assert listed(answer, f"{ALLOW}Headers") == wanted
    assert_varies(answer)


@pytest.mark.parametrize("origin", [APP, LOCAL])
@pytest.mark.parametrize(
    ("path", "status"),
    [("/echo/", 200), ("/echo/?zzz=1", 400), ("/who-am-i/", 401), ("/nowhere/", 404), ("/broken/", 500)],
)
def test_an_allowed_origin_can_read_every_response(origin, path, status):
    answer = ask(origin, path=path)

    assert (answer.status_code, answer.headers[f"{ALLOW}Origin"]) == (status, origin)
    assert listed(answer, "Access-Control-Expose-Headers") == EXPOSED
    assert_varies(answer)


@pytest.mark.parametrize("origin", OTHERS)
def test_another_origin_gets_no_cors_headers(origin):
    for answer in (preflight(origin), ask(origin), ask(origin, path="/nowhere/")):
        assert cors_headers(answer) == set()
        assert_varies(answer)


def test_a_response_without_an_origin_varies_too():
    """Otherwise a cache could return it to an allowed origin."""
    answer = Client().get("/echo/")

    assert cors_headers(answer) == set()
    assert_varies(answer)


def test_credentials_and_private_networks_are_not_allowed():
    for answer in (preflight(APP), ask(APP), ask(APP, path="/who-am-i/")):
        assert f"{ALLOW}Credentials" not in answer.headers
        assert f"{ALLOW}Private-Network" not in answer.headers


@pytest.mark.django_db
def test_a_web_page_can_read_the_rate_limit_headers(settings):
    set_limits(settings, anon="1/min")

    answers = [ask(APP) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert {read_limit(answer).scope for answer in answers} == {"anon"}
    assert {answer.headers[f"{ALLOW}Origin"] for answer in answers} == {APP}
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= listed(answers[1], "Access-Control-Expose-Headers")
    assert Window.objects.get().requests == 2
