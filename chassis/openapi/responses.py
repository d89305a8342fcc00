"""The error responses and response headers of all operations."""

from http import HTTPStatus
from typing import Any

from rest_framework import exceptions, serializers

from chassis.api import problems
from chassis.api.idempotency import KeyInUse, KeyReused
from chassis.api.problems import PayloadTooLarge, PreconditionFailed, ServiceUnavailable
from chassis.api.serializers import OutputSerializer
from chassis.openapi.schemas import Schema

HEADERS: dict[str, Schema] = {
    "X-Request-ID": {"type": "string", "description": "The id of the request; every log line about it has it."},
    "ETag": {"type": "string", "description": "Identifies this version; see If-None-Match and If-Match."},
    "Cache-Control": {"type": "string", "description": "How long the response may be cached."},
    "Location": {"type": "string", "description": "The address of the new resource."},
    "RateLimit": {"type": "string", "description": 'The rest of each limit, such as "user";r=9;t=60.'},
    "RateLimit-Policy": {"type": "string", "description": 'Each limit, such as "user";q=10;w=60.'},
    "Retry-After": {"type": "integer", "description": "The number of seconds to wait before another attempt."},
    "WWW-Authenticate": {"type": "string", "description": "Asks for a bearer token."},
    "Content-Disposition": {"type": "string", "description": "A name for the file."},
}
STATUS_HEADERS = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
TEXTS = {
    400: "The request is invalid; `errors` names each invalid field, parameter or header.",
    401: "The token is missing or invalid.",
    403: "Only an admin may do this.",
    404: "Nothing that you may see has this id.",
    409: "The first request with this `Idempotency-Key` is still running.",
    412: "It has changed since the version in `If-Match`; `changed_fields` names the changed fields.",
    413: "The body is larger than 1 MB, or larger than 16 kB for an operation that needs no token.",
    415: "The body is not JSON in UTF-8, or it is compressed.",
    422: "The `Idempotency-Key` was used with another body before.",
    429: "Too many requests; `Retry-After` says when to try again.",
    503: "The service is unavailable at the moment.",
}
UNKNOWN_PARAMETER = {"field": "limit", "code": "unknown_parameter", "detail": "Unknown query parameter."}
# An example error for each status.
ERRORS: tuple[exceptions.APIException, ...] = (
    exceptions.ValidationError({"limit": UNKNOWN_PARAMETER["detail"]}),
    exceptions.AuthenticationFailed("The token is invalid or has expired.", code="token_invalid"),
    exceptions.PermissionDenied(),
    exceptions.NotFound(),
    KeyInUse(),
    PreconditionFailed(changed_fields=["status"]),
    PayloadTooLarge(),
    exceptions.UnsupportedMediaType("text/plain"),
    KeyReused(),
    exceptions.Throttled(detail="Too many requests."),
    ServiceUnavailable(),
)
EXAMPLES = {error.status_code: error for error in ERRORS}
NOT_MODIFIED = (
    "The version in `If-None-Match` is still current. In each window of a limit of N requests, the first N of these "
    "responses do not count against it; further ones count, and so does every response to `*`."
)
OTHERWISE = (
    "Any other error: 500 is a bug in the service; 414, 421, 431, 502 and 504 come from the gateway, without "
    "`instance`."
)
CHANGED_FIELDS = "The fields that have changed since; null if unknown."
REQUIRED = ["type", "title", "status", "detail", "code", "request_id", "errors"]


class ErrorSerializer(OutputSerializer):
    field = serializers.CharField(
        allow_null=True,
        help_text="The field, parameter or header, as a path such as `set.due_date`; null for the whole request.",
    )
    code = serializers.CharField(help_text="The kind of error, for programs.")
    detail = serializers.CharField(help_text="What is wrong, for people.")

    class Meta:
        ref_name = None


class ProblemSerializer(OutputSerializer):
    type = serializers.CharField(help_text="Always about:blank: the status says what the problem is.")
    title = serializers.CharField(help_text="The name of the status.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, for people.")
    code = serializers.CharField(help_text="The kind of error, for programs.")
    instance = serializers.CharField(help_text="The path of the request; problems from the gateway have none.")
    request_id = serializers.CharField(help_text="The id of the request, for a report of the problem.")
    # The serializer metaclass removes fields from the class, so this hides nothing.
    errors = ErrorSerializer(many=True, help_text="One for each invalid value.")  # type: ignore[assignment]

    class Meta:
        swagger_schema_fields = {"required": REQUIRED}


class StaleProblemSerializer(ProblemSerializer):
    changed_fields = serializers.ListField(child=serializers.CharField(), allow_null=True, help_text=CHANGED_FIELDS)

    class Meta:
        swagger_schema_fields = {"required": [*REQUIRED, "changed_fields"]}


PROBLEMS: dict[int, type[serializers.Serializer]] = {412: StaleProblemSerializer}


def headers(*names: str) -> dict[str, Schema]:
    return {name: HEADERS[name] for name in (*names, "X-Request-ID")}


def success_text(method: str, serializer: Any, is_page: bool) -> str:
    """Describe a success by the name of the model of the view's serializer."""
    if method == "DELETE":
        return "It is deleted."
    names = serializer.Meta.model._meta
    if is_page:
        return f"A page of {names.verbose_name_plural}."
    return f"The {names.verbose_name}." if method == "GET" else f"The {names.verbose_name} after the change."


def example(error: exceptions.APIException, path: str) -> dict[str, Any]:
    """Return the body that the exception handler makes of an error."""
    instance = "/".join("1" if part.startswith("{") else part for part in path.split("/"))
    errors = [UNKNOWN_PARAMETER] if error.status_code == HTTPStatus.BAD_REQUEST else []
    detail = problems.summary(error, errors)
    content = problems.body(error.status_code, problems.problem_code(error), detail, instance, errors)
    return content | getattr(error, "members", {}) | {"request_id": "5f0c1a7e3b9d4c2f8a6e0d1b7c3f9a52"}
