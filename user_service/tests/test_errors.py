"""What every route refuses, and the headers of every response. chassis tests the rules themselves."""

import pytest
from django.db import connection

from chassis.testing.documented_responses import get_document
from config.urls import DOCUMENTATION
from tests.conftest import status_and_fields, statuses

pytestmark = pytest.mark.django_db

DOCUMENT = get_document(DOCUMENTATION)
CALLS = list(DOCUMENT.operations)
WITH_BODY = [call for call in CALLS if DOCUMENT.parameters(call, "body")]
WITH_ID = [call for call in CALLS if "{id}" in call]


@pytest.fixture
def send(client_of, ada):
    client = client_of(ada)

    def send_as_admin(call, content=b"", content_type="application/json", *, query="", id_=ada.pk, **headers):
        method, route = call.split()
        path = route.replace("{id}", str(id_)) + query
        return client.generic(method, path, content, content_type=content_type, headers=headers)

    return send_as_admin


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_query_parameter_is_refused(send, call):
    assert status_and_fields(send(call, query="?force=true")) == (400, ["force"])


@pytest.mark.parametrize("call", WITH_BODY)
def test_an_unreadable_body_is_refused(send, call):
    answers = [send(call, content) for content in (b"", b"{", b'{"a": 1, "a": 1}', b"[]", b"null")]

    assert statuses([*answers, send(call, b"{}", "text/plain")]) == [400] * 5 + [415]


@pytest.mark.parametrize("call", WITH_BODY)
def test_unknown_fields_are_refused(send, ada, call):
    problem = send(call, b'{"id": %d, "unknown": 1, "": 1, "a.b": 1}' % ada.pk).json()

    unknown = {error["field"] for error in problem["errors"] if error["code"] == "unknown_field"}
    assert problem["status"] == 400
    assert unknown - {"id"} == {"unknown", "", "a.b"}


@pytest.mark.parametrize("call", WITH_ID)
@pytest.mark.parametrize("spelling", ["0{}", "+{}", "{}.0", "{}%00", "\u0661", "0", str(2**63)])
def test_an_id_has_one_spelling(send, ada, call, spelling):
    assert send(call, id_=spelling.format(ada.pk)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/user/nothing/", "/user/users//", "/%ff/"])
def test_an_unknown_path_is_404(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_trailing_slash_is_optional(client, alice, password):
    assert client.post("/token", {"username": "Alice", "password": password}).status_code == 200


def test_bodies_are_limited_to_16_kb_or_1_mb_with_a_token(client, client_of, alice):
    def send(client, method, path, size):
        return client.generic(method, path, b"{}".ljust(size), content_type="application/json")

    anonymous = [send(client, "POST", "/user/register/", size) for size in (16_384, 16_385, 1_048_577)]
    signed_in = [send(client_of(alice), "PATCH", "/user/me/", size) for size in (1_048_576, 1_048_577)]

    assert (statuses(anonymous), statuses(signed_in)) == ([400, 413, 413], [200, 413])
    assert anonymous[1].json()["detail"] == "The body is larger than 16 kB."


@pytest.mark.parametrize("path", ["/user/users/", "/user/nothing/"])
def test_an_unknown_host_is_refused(client, path):
    answer = client.get(path, headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_problem_names_field_code_and_detail(client):
    answer = client.post("/token/refresh/", {}, headers={"X-Request-ID": "abc", "Accept": "text/html"})

    assert answer.json() == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "refresh: This field is required.",
        "code": "invalid",
        "instance": "/token/refresh/",
        "request_id": "abc",
        "errors": [{"field": "refresh", "code": "required", "detail": "This field is required."}],
    }


@pytest.mark.parametrize("path", ["/user/users/", "/user/nothing/", "/token/", "/user/health/live/"])
def test_no_shared_cache_stores_a_response(client_of, ada, path):
    answer = client_of(ada).get(path)

    assert answer.headers["Cache-Control"] == "no-store"
    assert "Authorization" in answer.headers["Vary"]


@pytest.mark.django_db(transaction=True)
def test_without_a_database_the_response_is_503_with_retry_after(client_of, ada, monkeypatch):
    client = client_of(ada)
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    answer = client.get("/user/users/")

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "port" not in answer.content.decode()
