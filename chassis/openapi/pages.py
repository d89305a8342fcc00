"""The document and its pages as routes. They are for everybody, and no limit counts them."""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.views.decorators.http import condition
from drf_yasg import openapi

from chassis.openapi.generator import Generator
from chassis.ops import health

with warnings.catch_warnings():  # they import a validator, and that what jsonschema would rather not have used
    warnings.simplefilter("ignore", DeprecationWarning)
    from drf_yasg.codecs import OpenAPICodecJson, OpenAPICodecYaml
    from drf_yasg.renderers import ReDocRenderer, SwaggerUIRenderer

# Nothing comes from another host, and no script stands in a page. Redoc writes its styles into the page, and searches
# in a worker.
OURS_ALONE = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
POLICIES = {
    "swagger.html": OURS_ALONE,
    "redoc.html": f"{OURS_ALONE}; style-src 'self' 'unsafe-inline'; worker-src blob:",
}
OF_BOTH = {"Cache-Control", "Content-Security-Policy"}  # what a 304 says of them replaces what a browser has kept
DESCRIPTION = """\
Sign in by `POST /token/`, and put the access token into *Authorize*. It is good for five minutes at both services.

- Every path works with and without its last slash, and a `GET` also as `HEAD`.
- Unknown fields and query parameters are refused by name (400), and so is a parameter that is given twice.
- `If-Match` and `If-None-Match` are evaluated where they are listed. Elsewhere they are refused (400), and so is
  `If-Unmodified-Since` everywhere. What is answered on a `GET` has no date, so `If-Modified-Since` has no effect there.
- A method that a path does not have is 405 with `Allow`.
- Errors are `application/problem+json` (RFC 9457).
- How many requests are left is told in `RateLimit`; past the limit it is 429, and `Retry-After` says when to come back.
- Lists are pages of `next`, `previous` and `results`; follow `next` to the end.
"""


@dataclass(frozen=True, eq=False)
class Documentation:
    """A service's document, made when it is first asked for and then kept as long as the process lives."""

    title: str
    tags: Mapping[str, str]  # each with its description, in the order in which they are shown

    @cached_property
    def document(self) -> openapi.Swagger:
        info = openapi.Info(title=self.title, description=DESCRIPTION, default_version="0.1.0")
        return Generator(info, self.tags).get_schema()

    @cached_property
    def json(self) -> bytes:
        return bytes(OpenAPICodecJson([]).encode(self.document))

    @cached_property
    def yaml(self) -> bytes:
        return bytes(OpenAPICodecYaml([]).encode(self.document))


VIEWS: dict[str, Callable[[Documentation], HttpResponse]] = {
    "docs/": lambda documentation: page("swagger.html", SwaggerUIRenderer(), documentation),
    "redoc/": lambda documentation: page("redoc.html", ReDocRenderer(), documentation),
    "swagger.json": lambda documentation: HttpResponse(documentation.json, content_type="application/json"),
    "swagger.yaml": lambda documentation: HttpResponse(documentation.yaml, content_type="application/yaml"),
}


def urls(prefix: str, documentation: Documentation) -> list[URLPattern]:
    return [path(f"{prefix}/{name}", readable(partial(view, documentation))) for name, view in VIEWS.items()]


def readable(make: Callable[[], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view that refuses what is no GET, and lets clients ask with the entity tag if they have it still."""

    def read(request: HttpRequest) -> HttpResponse:
        if refusal := health.not_a_read(request):
            return refusal
        answer = make()
        answer["Cache-Control"] = "no-cache"
        tag = f'"{hashlib.sha256(answer.content).hexdigest()[:16]}"'
        checked = condition(etag_func=lambda _: tag)(lambda _: answer)(request)
        for name in OF_BOTH.intersection(answer.headers):
            checked[name] = answer[name]
        return checked

    return read


def page(name: str, renderer: Any, documentation: Documentation) -> HttpResponse:
    context: dict[str, Any] = {}
    renderer.set_context(context, documentation.document)
    return HttpResponse(
        render_to_string(f"chassis/{name}", context),
        headers={"Content-Security-Policy": POLICIES[name]},
    )
