"""Routes of the document and its pages. They are public and not rate limited."""

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

from chassis import __version__
from chassis.openapi.generator import Generator
from chassis.ops import health

with warnings.catch_warnings():  # they import a deprecated module of jsonschema
    warnings.simplefilter("ignore", DeprecationWarning)
    from drf_yasg.codecs import OpenAPICodecJson, OpenAPICodecYaml
    from drf_yasg.renderers import ReDocRenderer, SwaggerUIRenderer

# No files from other hosts and no inline scripts. Redoc needs inline styles, and a worker for its search.
SAME_ORIGIN = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
POLICIES = {
    "swagger.html": SAME_ORIGIN,
    "redoc.html": f"{SAME_ORIGIN}; style-src 'self' 'unsafe-inline'; worker-src blob:",
}
# A 304 must repeat these: it replaces the values that a browser has cached.
SHARED_HEADERS = {"Cache-Control", "Content-Security-Policy"}
DESCRIPTION = """\
Sign in by `POST /token/`, and paste the access token into *Authorize*. Both services accept it for five minutes.

- Every path works with and without its trailing slash. Every `GET` also works as `HEAD`.
- Unknown fields and query parameters and repeated parameters are an error that names them (400).
- `If-Match` and `If-None-Match` work where they are listed. Elsewhere they are an error (400), and so is
  `If-Unmodified-Since` everywhere. Responses have no `Last-Modified`, so `If-Modified-Since` has no effect on a `GET`.
- A method that a path does not support is an error (405) with `Allow`.
- Errors are `application/problem+json` (RFC 9457).
- `RateLimit` says how many requests are left. Beyond the limit, the status is 429 and `Retry-After` says when to try
  again.
- Lists are pages of `next`, `previous` and `results`; follow `next` to the end.
"""


@dataclass(frozen=True, eq=False)
class Documentation:
    """The document of a service, built on first use and cached for the life of the process."""

    title: str
    tags: Mapping[str, str]  # each with its description, in display order

    @cached_property
    def document(self) -> openapi.Swagger:
        info = openapi.Info(title=self.title, description=DESCRIPTION, default_version=__version__)
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
    return [path(f"{prefix}/{name}", get_only(partial(view, documentation))) for name, view in VIEWS.items()]


def get_only(build: Callable[[], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view for GET and HEAD that supports conditional requests."""

    def read(request: HttpRequest) -> HttpResponse:
        if error := health.method_not_allowed(request):
            return error
        response = build()
        response["Cache-Control"] = "no-cache"
        tag = f'"{hashlib.sha256(response.content).hexdigest()[:16]}"'
        conditional = condition(etag_func=lambda _: tag)(lambda _: response)(request)
        for name in SHARED_HEADERS.intersection(response.headers):
            conditional[name] = response[name]
        return conditional

    return read


def page(name: str, renderer: Any, documentation: Documentation) -> HttpResponse:
    context: dict[str, Any] = {}
    renderer.set_context(context, documentation.document)
    return HttpResponse(
        render_to_string(f"chassis/{name}", context),
        headers={"Content-Security-Policy": POLICIES[name]},
    )
