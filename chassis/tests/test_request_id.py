import re

import pytest

from chassis import request_id

MADE_HERE = re.compile("[0-9a-f]{32}")


@pytest.mark.parametrize("sent", ["a", "abc-123_DEF.4", "0" * 64])
def test_a_valid_id_is_kept(client, sent):
    assert client.get("/echo/", headers={"X-Request-ID": sent}).headers["X-Request-ID"] == sent


@pytest.mark.parametrize(
    "sent",
    ["", "0" * 65, "a b", "a\nb", "a\n", "a\r\nSet-Cookie: x=1", 'a"b', "{}", "é", "a/b", "a,b", "\0", "<b>"],
    ids=ascii,
)
def test_an_invalid_id_is_replaced(client, sent):
    assert MADE_HERE.fullmatch(client.get("/echo/", headers={"X-Request-ID": sent}).headers["X-Request-ID"])


def test_each_request_without_an_id_gets_its_own(client):
    assert client.get("/echo/").headers["X-Request-ID"] != client.get("/echo/").headers["X-Request-ID"]


@pytest.mark.parametrize(("path", "status"), [("/nowhere/", 404), ("/broken/", 500), ("/who-am-i/", 401)])
def test_an_error_has_its_request_id_in_header_and_body(client, path, status):
    client.raise_request_exception = False

    answer = client.get(path, headers={"X-Request-ID": "abc-1"})

    assert answer.status_code == status
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "abc-1"


def test_the_id_is_available_to_log_lines_after_the_response(client):
    client.get("/echo/", headers={"X-Request-ID": "abc-1"})

    assert request_id.current.get() == "abc-1"
