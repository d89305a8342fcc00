from types import ModuleType

import pytest

from chassis.ops import health


@pytest.mark.parametrize("path", ["/echo", "/echo/"])
def test_the_trailing_slash_is_optional_for_every_method(client, path):
    assert client.get(f"{path}?search=x").json() == {"search": ["x"]}
    assert client.generic("POST", path, b'{"a": 1}', content_type="application/json").json() == {"received": {"a": 1}}
    assert client.delete(path).status_code == 405


@pytest.mark.parametrize("path", ["/nowhere", "//echo", "/echo//", "/echo/x"])
def test_other_paths_are_not_fixed_or_redirected(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/echo/", "/nowhere/", "/who-am-i/"])
def test_responses_are_not_stored_in_shared_caches(client, path):
    answer = client.get(path)

    assert answer.headers["Cache-Control"] == "no-store"
    assert "Authorization" in answer.headers["Vary"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["elsewhere.test", "testserver.elsewhere.test", "testserver:80@elsewhere.test", "a b"])
def test_a_host_that_is_not_allowed_is_400(client, host):
    answer = client.get("/echo/", headers={"Host": host})

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert host not in answer.content.decode()


def test_health_checks_accept_any_host(client, settings):
    """Container platforms call health checks by IP address."""
    settings.ROOT_URLCONF = ModuleType("urls_with_health")
    settings.ROOT_URLCONF.urlpatterns = health.urls("task", checks=[])

    assert client.get("/task/health/live/", headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/task/health/live", headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/task/tasks/health/live/", headers={"Host": "10.1.2.3:8000"}).status_code == 400
