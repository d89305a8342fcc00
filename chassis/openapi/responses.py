"""What any operation of either service may answer besides its success."""

from http import HTTPStatus
from typing import Any

from rest_framework import exceptions, serializers

from chassis.api import problems
from chassis.api.idempotency import KeyInUse, KeyReused
from chassis.api.problems import PayloadTooLarge, PreconditionFailed, ServiceUnavailable
from chassis.api.serializers import OutputSerializer
from chassis.openapi.schemas import Schema

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
STATUS_HEADERS = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
TEXTS = {
    400: "Something in the request is not as it must be; `errors` names each field, parameter or header.",
    401: "There is no token, or none that is good.",
    403: "Only an admin may do this.",
    404: "There is none with this id, or none that you may see.",
    409: "The first request with this `Idempotency-Key` is still running.",
    412: "It has changed since the version that `If-Match` names; `changed_fields` says what.",
    413: "The body is larger than 1 MB, or 16 kB where no token is needed.",
    415: "The body is not JSON in UTF-8, or is encoded.",
    422: "The `Idempotency-Key` came with another body before.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "The service cannot do this at the moment.",
}
UNKNOWN_PARAMETER = {"field": "limit", "code": "unknown_parameter", "detail": "Unknown query parameter."}
# For each status an error as an example.
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
    "It is still what `If-None-Match` names. In each window of the limit, as many of these answers as it has requests "
    "do not count; further ones do, and so does every answer to `*`."
)
OTHERWISE = (
    "Whatever else goes wrong: 500 is a fault of ours; 414, 421, 431, 502 and 504 are the gateway's, "
    "without `instance`."
)
CHANGED_FIELDS = "What has changed since; null where that is not known."
REQUIRED = ["type", "title", "status", "detail", "code", "request_id", "errors"]


class ErrorSerializer(OutputSerializer):
    field = serializers.CharField(
        allow_null=True,
        help_text="The field, parameter or header, as a path such as `set.due_date`; null for the whole.",
    )
    code = serializers.CharField(help_text="The kind of mistake, for programs.")
    detail = serializers.CharField(help_text="What is wrong, for people.")

    class Meta:
        ref_name = None


class ProblemSerializer(OutputSerializer):
    type = serializers.CharField(help_text="Always about:blank: title and status say it.")
    title = serializers.CharField(help_text="The name of the status.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, for people.")
    code = serializers.CharField(help_text="The kind of error, for programs.")
    instance = serializers.CharField(help_text="The path that was asked for; the gateway's own problems have none.")
    request_id = serializers.CharField(help_text="What to name when you report it.")
    # The serializer metaclass takes fields out of the class, so this hides nothing.
    errors = ErrorSerializer(many=True, help_text="One for each thing that is wrong.")  # type: ignore[assignment]

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
    """Say what a view's own serializer shows, by the name of its model."""
    if method == "DELETE":
        return "It is deleted."
    names = serializer.Meta.model._meta
    if is_page:
        return f"A page of {names.verbose_name_plural}."
    return f"The {names.verbose_name}." if method == "GET" else f"The {names.verbose_name} as it is now."


def example(error: exceptions.APIException, path: str) -> dict[str, Any]:
    """Return the body that the exception handler would make of an error."""
    instance = "/".join("1" if part.startswith("{") else part for part in path.split("/"))
    errors = [UNKNOWN_PARAMETER] if error.status_code == HTTPStatus.BAD_REQUEST else []
    detail = problems.summary(error, errors)
    content = problems.body(error.status_code, problems.code_of(error), detail, instance, errors)
    return content | getattr(error, "members", {}) | {"request_id": "5f0c1a7e3b9d4c2f8a6e0d1b7c3f9a52"}
