"""Which responses the gateway compresses (docs/gateway.md)."""

import gzip
import json

import pytest

from tests.raw_http import FakeService, Gateway, answer, connect, parse, rest

TEXT = json.dumps({"detail": "x" * 5000}).encode()
KINDS = [
    *("application/json", "application/problem+json", "application/yaml", "text/csv", "text/html", "text/css"),
    *("text/javascript", "application/javascript"),
]


@pytest.fixture(scope="module")
def service():
    with FakeService() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(service):
    with Gateway(user_service=service.address, task_service=service.address) as running:
        yield running


def chunked(request, connection):
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head + b"2\r\n{}\r\n0\r\n\r\n")


def encodings(gateway, service, behavior, method="GET", path="/task/tasks/", accepted="gzip"):
    service.behavior = behavior
    return gateway.call(method, path, Accept_Encoding=accepted).all("Content-Encoding")


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_response_is_compressed_and_unchanged(gateway, service, kind):
    service.behavior = answer(body=TEXT, Content_Type=kind, Vary="Authorization", ETag='"1.a"')

    compressed = gateway.call("GET", "/task/tasks/", Accept_Encoding="gzip", Via="1.1 proxy")
    plain = gateway.call("GET", "/task/tasks/")

    assert compressed["Content-Encoding"] == "gzip"
    assert gzip.decompress(unchunked(compressed.body)) == plain.body == TEXT
    assert "Accept-Encoding" in compressed.all("Vary")
    assert (compressed["ETag"], plain["ETag"]) == ('W/"1.a"', '"1.a"')
    assert {request["Accept-Encoding"] for request in service.requests} == {None}


def unchunked(body):
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return content


@pytest.mark.parametrize("kind", ["image/png", "text/plain", "application/octet-stream"])
def test_other_media_types_are_not_compressed(gateway, service, kind):
    assert encodings(gateway, service, answer(body=TEXT, Content_Type=kind)) == []


@pytest.mark.parametrize("status", [200, 201, 202, 400, 401, 403, 404, 409, 412, 422, 429, 500, 503])
def test_only_200_403_and_404_are_compressed(gateway, service, status):
    expected = ["gzip"] if status in (200, 403, 404) else []

    assert encodings(gateway, service, answer(f"{status} x", TEXT)) == expected


@pytest.mark.parametrize(("length", "compressed"), [(999, []), (1000, ["gzip"])])
def test_a_short_response_with_a_length_is_not_compressed(gateway, service, length, compressed):
    assert encodings(gateway, service, answer(body=b"x" * length)) == compressed


def test_a_response_without_a_length_is_compressed(gateway, service):
    assert encodings(gateway, service, chunked) == ["gzip"]


@pytest.mark.parametrize("accepted", ["gzip;q=0", "br", "*", "identity"])
def test_without_accept_encoding_nothing_is_compressed(gateway, service, accepted):
    assert encodings(gateway, service, answer(body=TEXT), accepted=accepted) == []


def test_an_http_1_0_client_gets_no_compression(gateway, service):
    service.behavior = answer(body=TEXT)
    with connect(gateway.port) as connection:
        connection.sendall(b"GET /task/tasks/ HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")

        assert parse(rest(connection)).all("Content-Encoding") == []


SECRETS = [
    *("/token", "/token/", "/token/refresh/", "/token/verify/", "/token/logout/", "/user/password-reset/"),
    *("/user/password-reset/confirm/", "/user/email/", "/user/email/confirm/"),
]


@pytest.mark.parametrize("path", SECRETS)
@pytest.mark.parametrize("behavior", [answer(body=TEXT), chunked], ids=["long", "without a length"])
def test_a_response_with_a_secret_is_not_compressed(gateway, service, path, behavior):
    assert encodings(gateway, service, behavior, "POST", path) == []


@pytest.mark.parametrize("path", ["/docs/", "/task/docs/", "/user/swagger.yaml"])
def test_documentation_is_compressed(gateway, service, path):
    assert encodings(gateway, service, answer(body=TEXT, Content_Type="application/yaml"), path=path) == ["gzip"]
