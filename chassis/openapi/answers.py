"""What an operation may answer: its success, and every refusal that follows from what its view is made of."""

from collections.abc import Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from drf_yasg import openapi
from rest_framework import exceptions
from rest_framework.permissions import AllowAny

from chassis.api import problems
from chassis.api.idempotency import KeyInUse, KeyReused
from chassis.api.problems import CONTENT_TYPE, Conflict, PayloadTooLarge, PreconditionFailed, ServiceUnavailable
from chassis.api.views import Endpoint
from chassis.auth.gate import BearerAuthentication
from chassis.auth.tokens import Caller
from chassis.openapi.operations import JSON, Answer, Operation, Schema, Shape
from chassis.openapi.schemas import Definitions, whole

HEADERS: dict[str, Schema] = {
    "X-Request-ID": {"type": "string", "description": "The id of the request, in every log line about it."},
    "ETag": {"type": "string", "description": "Names this state; see If-None-Match and If-Match."},
    "Cache-Control": {"type": "string", "description": "How long the answer may be kept."},
    "Location": {"type": "string", "description": "The address of what was made."},
    "RateLimit": {"type": "string", "description": 'What is left of each limit, such as "user";r=9;t=60.'},
    "RateLimit-Policy": {"type": "string", "description": 'Each limit, such as "user";q=10;w=60.'},
    "Retry-After": {"type": "integer", "description": "After how many seconds to try again."},
    "WWW-Authenticate": {"type": "string", "description": "That a bearer token is asked for."},
    "Content-Disposition": {"type": "string", "description": "A name for the file."},
}
RATE_LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")
STATUS_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
UNKNOWN_PARAMETER = {"field": "limit", "code": "unknown_parameter", "detail": "Unknown query parameter."}
# For each status: what it means here, and an error of that kind as an example.
REFUSALS = {
    400: (
        "Something in the request is not as it must be; `errors` names each field, parameter or header.",
        exceptions.ValidationError({"limit": UNKNOWN_PARAMETER["detail"]}),
    ),
    401: (
        "There is no token, or none that is good.",
        exceptions.AuthenticationFailed("The token is invalid or has expired.", code="token_invalid"),
    ),
    403: ("Only an admin may do this.", exceptions.PermissionDenied()),
    404: ("There is none with this id, or none that you may see.", exceptions.NotFound()),
    409: ("It conflicts with the current state.", Conflict()),
    412: (
        "It has changed since the version that `If-Match` names; `changed_fields` says what.",
        PreconditionFailed(changed_fields=["status"]),
    ),
    413: ("The body is larger than 1 MB, or 16 kB where no token is needed.", PayloadTooLarge()),
    415: ("The body is not JSON in UTF-8, or is encoded.", exceptions.UnsupportedMediaType("text/plain")),
    422: ("The `Idempotency-Key` came with another body before.", KeyReused()),
    429: (
        "Too many requests; `Retry-After` says when to come back.",
        exceptions.Throttled(detail="Too many requests."),
    ),
    503: ("The service cannot do this at the moment.", ServiceUnavailable()),
}
A_REQUEST_ID = "5f0c1a7e3b9d4c2f8a6e0d1b7c3f9a52"
KEY_IN_USE = "The first request with this `Idempotency-Key` is still running."
OTHERWISE = (
    "Whatever else goes wrong: 500 is a fault of ours; 414, 421, 431, 502 and 504 are the gateway's, "
    "without `instance`."
)

ERROR: Schema = {
    "type": "object",
    **whole(
        {
            "field": {
                "type": "string",
                "x-nullable": True,
                "description": "The field, parameter or header, as a path such as `set.due_date`; null for the whole.",
            },
            "code": {"type": "string", "description": "The kind of mistake, for programs."},
            "detail": {"type": "string", "description": "What is wrong, for people."},
        }
    ),
}
PROBLEM: dict[str, Schema] = {
    "type": {"type": "string", "description": "Always about:blank: title and status say it."},
    "title": {"type": "string", "description": "The name of the status."},
    "status": {"type": "integer"},
    "detail": {"type": "string", "description": "What is wrong, for people."},
    "code": {"type": "string", "description": "The kind of error, for programs."},
    "instance": {"type": "string", "description": "The path that was asked for; the gateway's own problems have none."},
    "request_id": {"type": "string", "description": "What to name when you report it."},
    "errors": {"type": "array", "items": ERROR, "description": "One for each thing that is wrong."},
}
CHANGED_FIELDS: Schema = {
    "type": "array",
    "items": {"type": "string"},
    "x-nullable": True,
    "description": "What has changed since; null where that is not known.",
}


def responses(view: Endpoint, method: str, path: str, operation: Operation, keyed: bool, make: Definitions) -> Any:
    limits = RATE_LIMIT_HEADERS if view.throttle_classes else ()
    answer = operation.answer
    found = {answer.status: success(view, method, answer, limits, make)}
    if reads_json(method, answer):
        description = (
            "It is still what `If-None-Match` names. In each window of the limit, as many of these answers as it has "
            "requests do not count; further ones do, and so does every answer to `*`."
        )
        found[304] = openapi.Response(description, headers=headers("ETag", *limits))
    for status, text in sorted(refusals(view, method, path, operation, keyed).items()):
        waits = ("Retry-After",) if status == HTTPStatus.CONFLICT and keyed else ()
        named = (*STATUS_HEADERS.get(status, ()), *waits, *limits)
        found[status] = refusal(status, text, path, named, make, operation.problems.get(status))
    otherwise = openapi.Response(OTHERWISE, schema=problem(make), headers=headers())
    return openapi.Responses({str(status): found[status] for status in found}, default=otherwise)


def success(
    view: Endpoint, method: str, answer: Answer, limits: tuple[str, ...], make: Definitions
) -> openapi.Response:
    tags = ("ETag",) if reads_json(method, answer) or (method in view.if_match_methods and answer.of) else ()
    schema = make.of_answer(answer, page=is_page(view, method))
    return openapi.Response(
        answer.description or HTTPStatus(answer.status).phrase,
        schema=schema,
        examples={answer.media_type: answer.example} if schema else None,
        headers=headers(*answer.headers, *tags, *limits),
    )


def refusal(
    status: int, text: str, path: str, named: tuple[str, ...], make: Definitions, members: Shape | None
) -> openapi.Response:
    schema = problem(make)
    if members:
        schema = make.refer(members.name, lambda: problem_of({**PROBLEM, **members.properties}))
    if status == HTTPStatus.PRECONDITION_FAILED:
        schema = make.refer("StaleProblem", lambda: problem_of({**PROBLEM, "changed_fields": CHANGED_FIELDS}))
    error = KeyInUse() if text == KEY_IN_USE else REFUSALS[status][1]
    return openapi.Response(text, schema=schema, examples={CONTENT_TYPE: example(error, path)}, headers=headers(*named))


def example(error: exceptions.APIException, path: str) -> dict[str, Any]:
    """Return the body that the exception handler would make of an error."""
    instance = "/".join("1" if part.startswith("{") else part for part in path.split("/"))
    errors = [UNKNOWN_PARAMETER] if error.status_code == HTTPStatus.BAD_REQUEST else []
    detail = problems.summary(error, errors)
    content = problems.body(error.status_code, problems.code_of(error), detail, instance, errors)
    return content | getattr(error, "members", {}) | {"request_id": A_REQUEST_ID}


def problem(make: Definitions) -> Schema:
    return make.refer("Problem", lambda: problem_of(PROBLEM))


def problem_of(properties: dict[str, Schema]) -> Schema:
    required = [name for name in whole(properties)["required"] if name != "instance"]
    return {"type": "object", "required": required, "properties": properties}


def headers(*names: str) -> dict[str, Schema]:
    return {name: HEADERS[name] for name in (*names, "X-Request-ID")}


def refusals(view: Endpoint, method: str, path: str, operation: Operation, keyed: bool) -> Mapping[int, str]:
    """Return what may be refused: first what can be derived, then what the operation names besides."""
    applies = {
        400: True,
        401: bool(security(view)),
        403: refuses_users(view, method),
        404: "{" in path,
        409: keyed,
        412: method in view.if_match_methods,
        413: operation.body is not None,
        415: operation.body is not None,
        422: keyed,
        429: bool(view.throttle_classes),
        503: True,
    }
    found = {status: REFUSALS[status][0] for status, does in applies.items() if does} | dict(operation.refusals)
    if keyed:
        found[409] = " Or: ".join(filter(None, (operation.refusals.get(409), KEY_IN_USE)))
    return found


def refuses_users(view: Endpoint, method: str) -> bool:
    """Ask the view's own permissions about somebody who has signed in and is no admin."""
    user = Caller(id=1, username="alice", role="user", epoch=0)
    request: Any = SimpleNamespace(method=method, user=user, data={})
    return not all(
        permission.has_permission(request, view) and permission.has_object_permission(request, view, None)
        for permission in view.get_permissions()
    )


def security(view: Endpoint) -> list[dict[str, list[str]]]:
    if not any(issubclass(each, BearerAuthentication) for each in view.authentication_classes):
        return []
    bearer: dict[str, list[str]] = {"Bearer": []}
    return [{}, bearer] if AllowAny in view.permission_classes else [bearer]


def reads_json(method: str, answer: Answer) -> bool:
    return method == "GET" and answer.media_type == JSON


def is_page(view: Endpoint, method: str) -> bool:
    return method == "GET" and "cursor" in view.query_parameters
