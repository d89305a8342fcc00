from types import ModuleType

import pytest

from chassis.ops import health


@pytest.mark.parametrize("path", ["/echo", "/echo/"])
def test_the_slash_at_the_end_is_optional_for_every_method(client, path):
    assert client.get(path).status_code == 200
    assert client.generic("POST", path, b'{"a": 1}', content_type="application/json").json() == {"received": {"a": 1}}
    assert client.delete(path).status_code == 405


def test_the_query_survives_a_missing_slash(client):
    assert client.get("/echo?search=x").json() == {"search": ["x"]}


@pytest.mark.parametrize("path", ["/nowhere", "//echo", "/echo//", "/echo/x"])
def test_no_other_path_is_mended_or_redirected(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/echo/", "/nowhere/", "/who-am-i/"])
def test_answers_are_kept_out_of_shared_caches(client, path):
    answer = client.get(path)

    assert answer.headers["Cache-Control"] == "no-store"
    assert "Authorization" in answer.headers["Vary"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["elsewhere.test", "testserver.elsewhere.test", "testserver:80@elsewhere.test", "a b"])
def test_a_host_that_is_not_allowed_gets_no_answer(client, host):
    answer = client.get("/echo/", headers={"Host": host})

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert host not in answer.content.decode()


def test_health_is_told_under_any_name(client, settings):
    """Whoever looks after containers asks by their address."""
    settings.ROOT_URLCONF = ModuleType("urls_with_health")
    settings.ROOT_URLCONF.urlpatterns = health.urls("task", checks=[])

    assert client.get("/task/health/live/", headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/task/health/live", headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/task/tasks/health/live/", headers={"Host": "10.1.2.3:8000"}).status_code == 400
