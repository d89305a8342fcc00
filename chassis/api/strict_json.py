"""A strict JSON parser (RFC 8259) and a fast renderer."""

import json
import math
import re
from collections import Counter
from typing import IO, Any

import orjson
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import _MediaType

from chassis.api.problems import PayloadTooLarge, excerpt
from chassis.size_limits import MAX_CONTENT_TYPE_LENGTH

SURROGATES = re.compile("[\ud800-\udfff]")


class StrictJSONParser(BaseParser):
    """Parse a JSON body in UTF-8.

    400: a byte order mark, duplicate keys, NaN and Infinity, lone surrogates, NUL, too deep nesting.
    415: any other charset, or a Content-Encoding. 413: larger than the limit of the view.
    """

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        request: Request = parser_context["request"]  # not the stream: request.body limits the size
        check_encoding(request, media_type or "")
        try:
            body = request.body
        except RequestDataTooBig as error:
            raise PayloadTooLarge() from error
        max_bytes = parser_context["view"].max_body_bytes
        if len(body) > max_bytes:
            raise PayloadTooLarge(max_bytes=max_bytes)
        return loads(body)


class StrictJSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None  # JSON has no charset parameter (RFC 8259 section 11)

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else orjson.dumps(data, default=str)


class RenderedJSON(HttpResponse):
    """JSON that is rendered already. It costs less than DRF's Response, which renders after the view."""

    def __init__(self, content: bytes, *, etag: str) -> None:
        super().__init__(content, content_type=StrictJSONRenderer.media_type, headers={"ETag": etag})


class JSONOnlyNegotiation(DefaultContentNegotiation):
    """Accept only JSON, and return it whatever Accept says, as RFC 9110 section 12.5.1 allows: clients must always be
    able to read errors."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        content_type = request.content_type or ""
        media_type = content_type.partition(";")[0].strip().lower()
        # DRF would also accept */* and application/*.
        if media_type != StrictJSONParser.media_type or len(content_type) > MAX_CONTENT_TYPE_LENGTH:
            raise UnsupportedMediaType("", f'Unsupported media type "{excerpt(content_type)}" in request.')
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


def check_encoding(request: Request, media_type: str) -> None:
    charset = _MediaType(media_type).params.get("charset", "utf-8")
    if charset.strip('"').lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(media_type, detail="Send JSON in UTF-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(media_type, detail="Send the body without a Content-Encoding.")


def loads(body: bytes) -> Any:
    """Parse strictly, or raise ParseError with the position of the error."""
    try:
        text = body.decode()
        data = json.loads(
            text, object_pairs_hook=unique_keys, parse_constant=reject_constant, parse_float=finite_number
        )
        if "\\u" in text:  # only an escape can be a lone surrogate or NUL
            check_storable(data)
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8: byte {error.start} is invalid.") from error
    except json.JSONDecodeError as error:
        raise ParseError(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except RecursionError as error:
        raise ParseError("The body is nested too deeply.") from error
    except ValueError as error:  # int() rejects more than 4,300 digits
        raise ParseError("The body contains a number that is too long.") from error
    return data


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ParseError(f"The key {json.dumps(excerpt(twice))} appears twice in one object.")
    return parsed


def finite_number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ParseError("The body contains a number that is too large.")
    return number


def reject_constant(name: str) -> None:
    raise ParseError(f"{name} is not JSON.")


def check_storable(data: Any) -> None:
    flat = json.dumps(data, ensure_ascii=False)
    if SURROGATES.search(flat):
        raise ParseError("The body contains a lone surrogate, which is not a character.")
    if "\\u0000" in flat.replace("\\\\", ""):
        raise ParseError("The body contains a NUL character (\\u0000).")
