import pytest
from rest_framework.exceptions import ParseError
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from chassis.api.strict_json import loads, unique_keys
from chassis.size_limits import BODY_LIMIT_BYTES


def post(client, body, content_type="application/json", **headers):
    return client.generic("POST", "/echo/", body, content_type=content_type, headers=headers)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        *[(b'{"a": [1, -0.5, true, null]}', {"a": [1, -0.5, True, None]}), (b" null\n", None), (b'"x"', "x")],
        *[(b'{"a": {"a": {}}}', {"a": {"a": {}}}), (b'{"__proto__": {"$ne": 1}}', {"__proto__": {"$ne": 1}})],
        *[(rb'"\ud83d\ude00"', "😀"), (rb'"\\u0000"', r"\u0000"), (rb'"\\\\u0000 \\ud800"', r"\\u0000 \ud800")],
        *[('"\u200c\u202e"'.encode(), "\u200c\u202e"), (b"9" * 4_000, int("9" * 4_000))],
    ],
)
def test_json_is_parsed(body, expected):
    assert loads(body) == expected


NESTED = [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"[" * 100_000]
SURROGATES = [rb'"\ud800"', rb'"\ude00\ud83d"', rb'{"\udfff": 1}', rb'[[{"a": ["\ud83dx"]}]]']


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON: .* at line 1, column 1"),
        (b'{"a": 1,}', "not JSON: .* at line 1, column [89]"),
        *((body, "not JSON") for body in (b"{", b"{'a': 1}", b"01", "\u0661".encode())),
        (b'{"a": 1} x', "not JSON: Extra data"),
        *((body, "not JSON: Invalid control character") for body in (b'"a\nb"', b'"a\0b"')),
        (b"\xef\xbb\xbf{}", "not JSON: .*BOM"),
        (b'"\xff"', "not UTF-8: byte 1 is invalid"),
        *((body, "not UTF-8") for body in (b'"\xed\xa0\x80"', '{"a": 1}'.encode("utf-16"))),
        *[(b"NaN", "NaN is not JSON"), (b'{"a": [Infinity]}', "Infinity is not JSON")],
        (b"[-Infinity]", "-Infinity is not JSON"),
        *((body, "a number that is too large") for body in (b"[1e400]", b"[-1e999999999]")),
        (b"9" * 5_000, "too long"),
        *((body, "nested too deep") for body in NESTED),
        *((body, "a lone surrogate") for body in SURROGATES),
        *((body, "a NUL character") for body in (rb'"a\u0000b"', rb'{"\u0000": 1}', rb'"\\\u0000"')),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_anything_else_is_rejected_with_a_reason(body, reason):
    with pytest.raises(ParseError, match=reason):
        loads(body)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"status": "todo", "status": "completed"}', "status"),
        (b'{"a": 1, "b": 2, "b": 2}', "b"),
        (b'{"a": [{"b": {"c": 1, "c": 1}}]}', "c"),
        (rb'{"a": 1, "\u0061": 2}', "a"),
        (b'{"": 1, "": 2}', ""),
    ],
)
def test_a_duplicate_key_is_named(body, name):
    with pytest.raises(ParseError, match=f'^The key "{name}" appears twice in one object.$'):
        loads(body)


def test_finding_a_duplicate_key_does_not_compare_all_pairs():
    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__
        compared = 0

        def __eq__(self, other):
            Key.compared += 1
            return str.__eq__(self, other)

    names = [Key(f"k{number}") for number in range(1_000)] + [Key("k999")]

    with pytest.raises(ParseError, match="k999"):
        unique_keys([(name, 1) for name in names])

    assert Key.compared < 10_000


@pytest.mark.parametrize("parameter", ["", "; charset=utf-8", "; charset=UTF-8", '; charset="utf-8"', ";charset=utf8"])
def test_a_body_in_utf_8_is_accepted(client, parameter):
    answer = post(client, '{"a": "ä"}'.encode(), f"application/json{parameter}")

    assert (answer.status_code, answer.json()) == (200, {"received": {"a": "ä"}})


@pytest.mark.parametrize(
    "charset",
    ["utf-7", "utf-16", "latin-1", "ascii", "unicode_escape", "idna", "bz2_codec", "utf-8-sig", "nonsense", "", '""'],
)
def test_a_body_in_another_charset_is_rejected(client, charset):
    answer = post(client, b"{}", f"application/json; charset={charset}")

    assert (answer.status_code, answer.json()["detail"]) == (415, "Send JSON in UTF-8.")


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "text/plain", "application/xml", "application/x-www-form-urlencoded", "text/json", "json"),
        *("*/*", "application/*", "*/json", "application/json+x", "application/json, text/plain"),
        *("multipart/form-data; boundary=x", "application/" + "j" * 5_000),
    ],
)
def test_a_body_of_another_type_is_rejected(client, content_type):
    assert post(client, b'{"a": 1}', content_type).status_code == 415


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "identity, gzip"])
def test_an_encoded_body_is_rejected(client, encoding):
    answer = post(client, b"{}", **{"Content-Encoding": encoding})

    assert (answer.status_code, answer.json()["detail"]) == (415, "Send the body without a Content-Encoding.")


def test_a_body_of_at_most_one_megabyte_is_accepted(client):
    largest = b'"' + b"a" * (BODY_LIMIT_BYTES - 2) + b'"'

    assert post(client, largest).status_code == 200

    answer = post(client, largest + b" ")
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_a_rejected_body_becomes_an_encodable_problem(client):
    answer = post(client, rb'{"\ud800": 1, "\ud800": 2}')

    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("accept", ["text/html", "application/xml;q=1", "image/*", "nonsense", "", "*/*;q=0"])
def test_the_response_is_json_whatever_accept_says(client, accept):
    answer = client.get("/echo/", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")


def test_a_response_without_content_has_no_body():
    class Gone(APIView):
        def delete(self, request):
            return Response(status=204)

    answer = Gone.as_view(permission_classes=[])(APIRequestFactory().delete("/")).render()

    assert (answer.status_code, answer.content) == (204, b"")
