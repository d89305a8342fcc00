import pytest
from django.http import HttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from chassis.api import etags
from chassis.testing.forge import claims, signed

DIGEST = "0123456789ab"
TAG = f'"3.{DIGEST}"'


def request(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(APIRequestFactory().get("/", headers=named))


def test_a_tag_has_the_version_and_a_digest():
    first = etags.version_etag(3, b'{"name":"alice"}')

    assert first == etags.version_etag(3, b'{"name":"alice"}')
    assert etags.VERSION_ETAG.fullmatch(first)[1] == "3"
    others = {first, etags.version_etag(3, b'{"name":"bob"}'), etags.version_etag(4, b'{"name":"alice"}')}
    assert len(others) == 3


def test_a_weak_tag_is_a_digest_of_the_content():
    assert etags.weak_etag(b"[]") == etags.weak_etag(b"[]") == f'W/"{etags.digest(b"[]")}"'
    assert etags.weak_etag(b"[]") != etags.weak_etag(b"[ ]")
    assert (len(etags.digest(b"")), set(etags.digest(b"")) <= set("0123456789abcdef")) == (12, True)


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        *((form.format(TAG), {3}) for form in ("{}", "W/{}", " {} ", '"abc", {}', '"a,b", {}')),
        *[(f'{TAG}, W/"12.{DIGEST}"', {3, 12}), (f'"2147483647.{DIGEST}"', {2147483647})],
        *((f'"{version}.{DIGEST}"', set()) for version in ("0", "03", "-3", "٣", "9" * 5000, "a,3")),
        *((f'"3.{digest}"', set()) for digest in (f"{DIGEST}0", DIGEST[1:], DIGEST.upper(), f"{DIGEST}\n")),
        *[('"abc"', set()), ('"3"', set()), ("*", None), (" * ", None)],
    ],
    ids=lambda value: ascii(value)[:32],
)
def test_if_match_returns_the_versions_of_our_tags(header, versions):
    assert etags.if_match(request(If_Match=header)) == versions


def test_no_condition_allows_any_version():
    assert etags.if_match(request(If_None_Match=TAG)) is None


@pytest.mark.parametrize(
    "header",
    [
        *("", " ", "3", TAG[1:-1], TAG[:-1], f"'{TAG[1:-1]}'", "W/", "**", ",,", "é"),
        *(f"nonsense, {TAG}", f"*, {TAG}", f"{TAG} {TAG}"),
    ],
)
def test_a_condition_without_a_tag_is_rejected_by_name(header):
    with pytest.raises(ValidationError) as caught:
        etags.if_match(request(If_Match=header))

    assert caught.value.detail == {"If-Match": ['Must be "*" or entity tags such as "3.1f2e3d4c5b6a".']}
    assert caught.value.detail["If-Match"][0].code == "invalid"


KNOWN = [*(form.format(TAG) for form in ("{}", "W/{}", '"x", {}', '{},W/"x"', "nonsense, {}")), "*"]
OTHERS = ["", "3", '"x"', f'"4.{DIGEST}"', f'"3.{DIGEST[::-1]}"', TAG[1:-1], "nonsense"]


@pytest.mark.parametrize("header", KNOWN + OTHERS)
@pytest.mark.parametrize("kind", ["", "W/"])
def test_an_unchanged_response_is_304(header, kind):
    response = HttpResponse(b"{}", headers={"ETag": kind + TAG})

    answer = etags.conditional(request(If_None_Match=header)._request, response)

    assert (answer.status_code, answer.content) == ((304, b"") if header in KNOWN else (200, b"{}"))
    assert answer["ETag"] == kind + TAG


def test_a_response_without_a_tag_gets_a_weak_one():
    response = HttpResponse(b"[1]")

    assert etags.conditional(request()._request, response) is response
    assert response["ETag"] == etags.weak_etag(b"[1]")


@pytest.mark.parametrize("path", ["/echo/", "/rows/7/"])
def test_every_get_has_a_tag(client, path):
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first["ETag"], "X-Request-ID": "r-1"})

    named = [again[name] for name in ("Cache-Control", "Vary", "X-Request-ID")]
    assert first["ETag"] == etags.weak_etag(first.content) == client.head(path)["ETag"]
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert named == ["no-store", "origin, Authorization", "r-1"]
    assert client.head(path, headers={"If-None-Match": first["ETag"]}).status_code == 304


def test_a_changed_response_is_sent_again(client):
    first = client.get("/echo/?status=todo")

    other = client.get("/echo/?status=completed", headers={"If-None-Match": first["ETag"]})

    assert (other.status_code, other.json()) == (200, {"status": ["completed"]})
    assert other["ETag"] != first["ETag"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *[("GET", "/who-am-i/", 401), ("GET", "/echo/?zzz=1", 400), ("GET", "/rows/0/", 404)],
        *[("DELETE", "/echo/", 405), ("POST", "/echo/", 400)],
    ],
)
def test_writes_and_errors_have_no_tag_and_are_never_304(client, method, path, status):
    answer = client.generic(method, path, b"{}", content_type="application/json", headers={"If-None-Match": "*"})

    assert (answer.status_code, "ETag" in answer) == (status, False)


def test_a_signed_in_caller_can_send_if_none_match(client):
    signed_in = {"Authorization": f"Bearer {signed(claims())}"}
    first = client.get("/who-am-i/", headers=signed_in)

    assert client.get("/who-am-i/", headers={**signed_in, "If-None-Match": first["ETag"]}).status_code == 304
    assert client.get("/who-am-i/", headers={"If-None-Match": first["ETag"]}).status_code == 401
