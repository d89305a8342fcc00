"""Entity tags (RFC 9110, section 8.8.3), for conditional reads and writes."""

import hashlib
import re
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

DIGEST_LENGTH = 12
VERSION_ETAG = re.compile(r'"([1-9][0-9]{0,9})\.[0-9a-f]{12}"')
TAG = r'(?:W/)?"[^"]*"'
STAMPED_ETAG = r'(?:W/)?(?P<tag>"[0-9a-f]{12}-(?P<stamp>[^"]{1,99})")'
PATTERN = rf"^ *(?:\*|{TAG}(?: *, *{TAG})*) *$"  # of If-Match: "*" or entity tags


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def version_etag(version: int, content: bytes) -> str:
    """Return the tag of a versioned resource. The digest covers fields that change without the version."""
    return f'"{version}.{digest(content)}"'


def weak_etag(content: bytes, stamp: str = "") -> str:
    """Return the tag of a response. `stamp` tells the view later whether the content can have changed."""
    return f'W/"{digest(content)}-{stamp}"' if stamp else f'W/"{digest(content)}"'


def stamps(request: Request) -> dict[str, str]:
    """Return the tags in If-None-Match that have a stamp, by stamp."""
    found = re.finditer(STAMPED_ETAG, request.headers.get("If-None-Match", ""))
    return {each["stamp"]: f"W/{each['tag']}" for each in found}


def content_etag(representation: Any) -> str:
    """Return the tag of a resource without a version."""
    return f'"{digest(orjson.dumps(representation, default=str))}"'


def if_match(request: Request) -> frozenset[int] | None:
    """Return the versions that If-Match allows, or None for any. Digests are not compared."""
    tags = if_match_tags(request)
    if tags is None:
        return None
    return frozenset(int(ours[1]) for tag in tags if (ours := VERSION_ETAG.fullmatch(tag)))


def if_match_tags(request: Request) -> frozenset[str] | None:
    """Return the entity tags that If-Match allows, or None for any: no header, or "*".

    W/ is removed, because a gateway that compresses makes every tag weak.
    """
    header = request.headers.get("If-Match")
    if header is None:
        return None
    if not re.search(PATTERN, header):
        detail = 'Must be "*" or entity tags such as "3.1f2e3d4c5b6a".'
        raise ValidationError({"If-Match": [ErrorDetail(detail, code="invalid")]})
    if is_any(header):
        return None
    return frozenset(tag.removeprefix("W/") for tag in re.findall(TAG, header))


def is_any(header: str) -> bool:
    """Return whether a condition is "*", which matches any existing resource."""
    return header.strip() == "*"


def conditional(request: HttpRequest, response: HttpResponse) -> HttpResponseBase:
    """Return a rendered 200 with an entity tag, or a 304 if the client already has it."""
    if "ETag" not in response:
        response["ETag"] = weak_etag(response.content)
    known = same_content(request, response["ETag"]) or response["ETag"]
    return get_conditional_response(request, etag=known, response=response) or response


def same_content(request: HttpRequest, etag: str) -> str | None:
    """Return the tag in If-None-Match that has the digest of a stamped tag. A 304 then carries the new stamp."""
    if "-" not in etag:
        return None
    tags = re.findall(TAG, request.headers.get("If-None-Match", ""))
    return next((tag for tag in tags if digest_in(tag) == digest_in(etag)), None)


def digest_in(etag: str) -> str:
    return etag.removeprefix("W/").strip('"').partition("-")[0]
