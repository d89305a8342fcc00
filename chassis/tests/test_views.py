import pytest

from chassis.testing.forge import claims, signed


@pytest.mark.parametrize(
    "query", ["", "status=todo", "status=todo&status=completed", "search=&page_size=5&ordering=id"]
)
def test_known_parameters_are_accepted(client, query):
    assert client.get(f"/echo/?{query}").status_code == 200


UNKNOWN, TWICE, NUL = "Unknown query parameter", "Must not be repeated.", "Must not contain a NUL character."


@pytest.mark.parametrize(
    ("query", "field", "code", "detail"),
    [
        ("statsu=todo", "statsu", "unknown_parameter", f"{UNKNOWN}; did you mean status?"),
        ("zzz=1", "zzz", "unknown_parameter", f"{UNKNOWN}."),
        ("STATUS=todo", "STATUS", "unknown_parameter", f"{UNKNOWN}."),
        ("status[]=todo", "status[]", "unknown_parameter", f"{UNKNOWN}; did you mean status?"),
        ("page=2", "page", "unknown_parameter", f"{UNKNOWN}; did you mean page_size?"),
        ("format=html", "format", "unknown_parameter", f"{UNKNOWN}."),
        ("=1", "", "unknown_parameter", f"{UNKNOWN}."),
        ("%ed%a0%80=1", "\ufffd\ufffd\ufffd", "unknown_parameter", f"{UNKNOWN}."),
        ("search=a&search=a", "search", "repeated_parameter", TWICE),
        ("cursor=a&cursor=b", "cursor", "repeated_parameter", TWICE),
        ("search=a%00b", "search", "invalid", NUL),
        ("status=todo&status=%00", "status", "invalid", NUL),
    ],
)
def test_an_invalid_parameter_is_named(client, query, field, code, detail):
    answer = client.get(f"/echo/?{query}")

    assert (answer.status_code, answer.json()["errors"]) == (400, [{"field": field, "code": code, "detail": detail}])


def test_all_invalid_parameters_are_reported_at_once(client):
    answer = client.get("/echo/?zzz=1&search=a&search=b")

    assert [error["field"] for error in answer.json()["errors"]] == ["zzz", "search"]


@pytest.mark.parametrize("parameter", ["status", "page_size", "ordering", "cursor"])
def test_filters_and_pages_are_only_for_lists(client, parameter):
    writing = client.generic("POST", f"/echo/?{parameter}=1", b"{}", content_type="application/json")
    reading_one = client.get(f"/rows/1/?{parameter}=1")

    assert (writing.status_code, reading_one.status_code) == (400, 400)


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "QUERY", "TRACE", "PROPFIND"])
def test_an_unsupported_method_is_405_whatever_the_query(client, method):
    answer = client.generic(method, "/echo/?status=todo&zzz=1", b"{}", content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer["Allow"] == "GET, POST, HEAD"


def test_permissions_are_checked_before_parameters(client):
    assert client.get("/who-am-i/?zzz=1").status_code == 401
    signed_in = {"Authorization": f"Bearer {signed(claims())}"}
    assert client.get("/who-am-i/?zzz=1", headers=signed_in).status_code == 400


def test_a_thousand_parameters_are_a_400(client):
    answer = client.get("/echo/?" + "&".join(f"a{number}=1" for number in range(1_001)))

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")


def test_an_empty_body_is_rejected_if_one_is_required(client):
    answer = client.generic("POST", "/echo/", b"", content_type="application/json")

    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is empty; send a JSON object.")


def test_a_body_on_a_get_is_ignored(client):
    assert client.generic("GET", "/echo/", b"GET /admin HTTP/1.1\r\n\r\n", content_type="text/plain").status_code == 200
