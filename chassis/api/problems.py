"""Renders all errors as application/problem+json (RFC 9457). Views raise exceptions and never build error responses."""

import logging
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from psycopg2.errors import LockNotAvailable, QueryCanceled
from psycopg2.extensions import TransactionRollbackError
from rest_framework import exceptions
from rest_framework.response import Response

from chassis import refused_writes, request_id
from chassis.auth import audit

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
RETRY_AFTER = {"Retry-After": str(RETRY_AFTER_SECONDS)}
# Characters of the request that an error may repeat, and characters of its detail.
MAX_EXCERPT, MAX_DETAIL = 100, 300
OUT_OF_MEMORY = "The service is short of memory at the moment; try again shortly."
NON_FIELD_ERRORS = "non_field_errors"  # DRF's name for errors of the whole body

log = logging.getLogger(__name__)


class Conflict(exceptions.APIException):
    status_code = 409
    default_detail = "Conflicts with the current state."
    default_code = "conflict"


class PayloadTooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body is larger than 1 MB."
    default_code = "payload_too_large"

    def __init__(self, *, max_bytes: int | None = None) -> None:
        super().__init__(None if max_bytes is None else f"The body is larger than {max_bytes // 1024} kB.")


class PreconditionFailed(exceptions.APIException):
    """If-Match does not match the current version; `members` are added to the response body."""

    status_code = 412
    default_detail = "It has changed since the version in If-Match; read it again."
    default_code = "precondition_failed"

    def __init__(self, **members: Any) -> None:
        super().__init__()
        self.members = members


class ServiceUnavailable(exceptions.APIException):
    status_code = 503
    default_detail = "The service cannot do this at the moment; try again shortly."
    default_code = "service_unavailable"
    wait = RETRY_AFTER_SECONDS


class PreconditionUnsupported(exceptions.ValidationError):
    """A conditional header (RFC 9110 section 13) that the view does not evaluate; ignoring it could lose an update."""

    default_code = "precondition_unsupported"

    def __init__(self, header: str, detail: str) -> None:
        super().__init__({header: [exceptions.ErrorDetail(detail, code=self.default_code)]})


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn an exception into a problem. Return None for a bug: it becomes a logged 500."""
    problem = as_api_exception(error)
    if problem is None:
        return None
    if problem is not error and problem.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s: %s", type(error).__name__, error)
    if problem.status_code == HTTPStatus.FORBIDDEN:
        request = context["request"]
        actor = getattr(request.user, "id", None)
        audit.write("authz_fail", actor=actor, method=request.method, path=request.path)
    errors = list(field_errors(problem.get_full_details())) if problem.status_code in (400, 409) else []
    content = body(
        problem.status_code, problem_code(problem), summary(problem, errors), context["request"].path, errors
    )
    return Response(
        content | getattr(problem, "members", {}),
        status=problem.status_code,
        headers=problem_headers(problem),
        content_type=CONTENT_TYPE,
    )


def as_api_exception(error: Exception) -> exceptions.APIException | None:
    if isinstance(error, exceptions.APIException):
        return error
    if isinstance(error, Http404):  # its text would reveal the type of the missing row
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return PayloadTooLarge()
    if isinstance(error, MemoryError):
        return ServiceUnavailable(OUT_OF_MEMORY)
    if isinstance(error.__cause__, refused_writes.CAUSES):
        refused_writes.record()
        return ServiceUnavailable("The database cannot store anything at the moment; try again later.")
    if isinstance(error, (OperationalError, InterfaceError)):
        return ServiceUnavailable(database_error_detail(error))
    return None


def database_error_detail(error: Exception) -> str:
    """Return why the database rejected the request. In each case the transaction was rolled back."""
    if isinstance(error.__cause__, (LockNotAvailable, TransactionRollbackError)):
        return "Another request is changing the same data; try again shortly."
    if isinstance(error.__cause__, QueryCanceled):
        return "The database took too long; try again later, or request less data."
    return "The database cannot be reached at the moment; try again shortly."


def problem_headers(problem: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if challenge := getattr(problem, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(problem, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers


def problem_code(problem: exceptions.APIException) -> str:
    codes = problem.get_codes()
    return codes if isinstance(codes, str) else problem.default_code


def summary(problem: exceptions.APIException, errors: list[dict[str, Any]]) -> str:
    if not errors:
        return str(problem.detail)
    first = errors[0]["detail"] if errors[0]["field"] is None else f"{errors[0]['field']}: {errors[0]['detail']}"
    return first if len(errors) == 1 else f"{len(errors)} validation errors; first: {first}"


def field_errors(details: Any, path: str | None = None) -> Iterator[dict[str, Any]]:
    """Flatten DRF's nested details into {"field", "code", "detail"} objects; field is null for the whole body."""
    if isinstance(details, list):
        for index, item in enumerate(details):
            list_path = NON_FIELD_ERRORS if path is None else path
            yield from field_errors(item, list_path if is_leaf(item) else f"{path or ''}[{index}]")
    elif not is_leaf(details):
        for name, item in details.items():
            yield from field_errors(item, name if path is None else f"{path}.{name}")
    elif path is not None:
        field = None if path == NON_FIELD_ERRORS else path
        yield {
            "field": None if field is None else excerpt(field),
            "code": details["code"],
            "detail": excerpt(details["message"], MAX_DETAIL),
        }


def is_leaf(details: Any) -> bool:
    return isinstance(details, dict) and details.keys() == {"message", "code"} and isinstance(details["code"], str)


def body(
    status: int, code: str, detail: str, instance: str, errors: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": excerpt(detail, MAX_DETAIL),
        "code": code,
        "instance": excerpt(instance),
        "request_id": request_id.current.get(),
        "errors": errors or [],
    }


def excerpt(text: str, max_length: int = MAX_EXCERPT) -> str:
    """Shorten a text to the length that an error may repeat."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}\u2026"


def problem_response(request: HttpRequest, status: int, code: str, detail: str, **headers: str) -> HttpResponse:
    """Return a problem outside DRF's views."""
    content = orjson.dumps(body(status, code, detail, request.path))
    return HttpResponse(content, status=status, content_type=CONTENT_TYPE, headers=headers)


# Django's four error handlers, for requests that never reach a DRF view. Each service's urls.py refers to them.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, 400, "bad_request", "The request is malformed.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, 403, "permission_denied", str(exceptions.PermissionDenied.default_detail))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, 404, "not_found", str(exceptions.NotFound.default_detail))


def server_error(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exception(), MemoryError):
        return problem_response(request, 503, "service_unavailable", OUT_OF_MEMORY, **RETRY_AFTER)
    return problem_response(request, 500, "server_error", "Internal error; it is logged under the request_id.")
