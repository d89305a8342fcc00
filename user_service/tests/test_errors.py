"""Errors of every route, and the headers of every response."""

import json

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db

ROUTES = {
    "/user/health/live/": {"get"},
    "/user/health/ready/": {"get"},
    "/user/register/": {"post"},
    "/token/": {"post"},
    "/token/refresh/": {"post"},
    "/user/users/": {"get", "post", "put", "patch", "delete"},
    "/user/users/1/": {"get", "put", "patch", "delete"},
}
METHODS = ("get", "post", "put", "patch", "delete", "options", "trace")


def sent_as_is(client, body, content_type="application/json", **headers):
    return client.generic("POST", "/user/register/", body, content_type=content_type, headers=headers)


@pytest.mark.parametrize(
    "path", ["/", "/user/", "/user/nothing/", "/admin/", "/.env", "/user/users//", "/%ff/", "/%00/"]
)
def test_an_unknown_path_is_404(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path, known in ROUTES.items() for method in METHODS if method not in known]
)
def test_an_unknown_method_is_405(client_of, ada, path, method):
    answer = getattr(client_of(ada), method)(path)

    allowed = {name.strip().lower() for name in answer.headers["Allow"].split(",")}
    assert answer.status_code == 405
    assert allowed - {"head"} == ROUTES[path]


@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path, methods in ROUTES.items() for method in sorted(methods)]
)
def test_the_trailing_slash_is_optional(client_of, ada, path, method):
    client = client_of(ada)

    with_slash, without = getattr(client, method)(path), getattr(client, method)(path.rstrip("/"))

    assert without.status_code == with_slash.status_code
    assert without.status_code not in (301, 302, 307, 308)
    if without.status_code >= 400:
        assert without.json()["errors"] == with_slash.json()["errors"]


def test_a_body_arrives_without_the_trailing_slash(client, alice, password):
    answer = client.post("/token", {"username": "Alice", "password": password})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'username': 'Bob'}",
        b'{"username": "Bob",}',
        b'{"username": NaN}',
        b'{"username": 1' + b"0" * 5000 + b"}",
        b"\xff",
        b'\xef\xbb\xbf{"username": "Bob"}',
        b'{"username": "B\\u0000b"}',
        b'{"username": "B\\ud800b"}',
        b'{"\\ud800": 1}',
        b'{"username": "Bob", "username": "Ada"}',
        b"",
        b"[" * 16_000,
        b'{"a":' * 3_000,
    ],
    ids=range(14),
)
def test_invalid_json_is_refused(client, body):
    answer = sent_as_is(client, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")


@pytest.mark.parametrize("body", ["null", "[]", "[{}]", '"x"', "1", "true", "{}"])
def test_json_of_the_wrong_type_is_refused(client, body):
    answer = sent_as_is(client, body)

    assert answer.status_code == 400
    assert answer.json()["errors"]


@pytest.mark.parametrize("body", [{"": 1}, {"": {"": 1}}, {"a.b": 1}, {"message": 1, "code": "x"}])
def test_an_oddly_named_field_is_reported_legibly(client, body):
    answer = client.post("/token/refresh/", {"refresh": "x", **body})

    problem = answer.json()
    assert answer.status_code == 400
    assert [error["field"] for error in problem["errors"]] == list(body)
    assert "ErrorDetail" not in answer.content.decode()


def test_an_unnamed_query_parameter_is_refused_legibly(client_of, ada):
    answer = client_of(ada).get("/user/users/?=1")

    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == 1
    assert "ErrorDetail" not in answer.content.decode()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json; charset=bz2_codec",
        "x" * 5000,
    ],
)
def test_a_wrong_content_type_is_refused(client, content_type):
    answer = sent_as_is(client, json.dumps({"username": "Bob"}), content_type)

    assert answer.status_code == 415


def test_a_compressed_body_is_refused(client):
    answer = sent_as_is(client, b"\x1f\x8b", **{"Content-Encoding": "gzip"})

    assert answer.status_code == 415


def test_bodies_are_limited_to_16_kb_or_1_mb_with_a_token(client, client_of, alice):
    def padded(size):
        return b"{}".ljust(size)

    answers = [sent_as_is(client, padded(size)) for size in (16 * 1024, 16 * 1024 + 1, 1024 * 1024 + 1)]
    own = [
        client_of(alice).generic("PATCH", "/user/me/", padded(size), content_type="application/json").status_code
        for size in (1024 * 1024, 1024 * 1024 + 1)
    ]

    assert [answer.status_code for answer in answers] == [400, 413, 413]
    assert answers[1].json()["detail"] == "The body is larger than 16 kB."
    assert own == [200, 413]


@pytest.mark.parametrize("path", ["/user/users/", "/token/", "/user/nothing/"])
@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "a b", "testserver@evil.example"])
def test_an_unknown_host_is_refused(client, path, host):
    answer = client.get(path, headers={"Host": host})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*;q=0", "nonsense"])
def test_an_error_is_a_problem_for_every_accept_header(client, accept):
    answer = client.get("/user/users/", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json")


def test_a_problem_names_field_code_and_detail(client):
    answer = client.post("/token/refresh/", {}, headers={"X-Request-ID": "abc"})

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


@pytest.mark.parametrize("sent", ["abc", "0", "A-b_c.9", "x" * 64])
def test_a_valid_request_id_is_kept(client, sent):
    answer = client.get("/user/users/", headers={"X-Request-ID": sent})

    assert answer.headers["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\nb", "a/b", "\u00e9", '"', "a,b", "a\n"])
def test_an_invalid_request_id_is_replaced(client, sent):
    answer = client.get("/user/users/", headers={"X-Request-ID": sent})

    assert len(answer.headers["X-Request-ID"]) == 32
    assert answer.headers["X-Request-ID"].isalnum()


def test_every_request_gets_its_own_id(client):
    first, second = client.get("/user/users/"), client.get("/user/users/")

    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/user/users/", "/user/users/0/", "/user/nothing/", "/token/", "/user/health/live/"])
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
