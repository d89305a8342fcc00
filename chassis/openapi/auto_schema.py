"""drf-yasg's view inspector for the views of chassis.api. It derives most of an operation from the view.

In addition to drf-yasg's arguments, `swagger_auto_schema` takes `headers`, the response headers that the view sets
itself, and `example`, an example of the body. A string in `responses` is only a description: the schema of a success is
then that of the view's serializer, and the schema of an error is a problem.
"""

from types import SimpleNamespace
from typing import Any

from drf_yasg import inspectors as yasg
from drf_yasg import openapi
from drf_yasg.utils import guess_response_status
from rest_framework.permissions import AllowAny
from rest_framework.status import is_success

from chassis import request_id
from chassis.api import etags, idempotency
from chassis.api.problems import CONTENT_TYPE, Conflict
from chassis.auth.gate import BearerAuthentication
from chassis.auth.tokens import Caller
from chassis.openapi import inspectors, responses
from chassis.openapi.inspectors import MODE, SchemaMode
from chassis.openapi.responses import headers

JSON = "application/json"
IF_MATCH = "The `ETag` of the version that you read; 412 if it has changed since. `*` matches any version."
IF_NONE_MATCH = "The `ETag` of the version that you have; 304 without a body if it is still current."
KEY = "Any unique text, such as a UUID. Repeating the request within 24 hours returns the first response."
REQUEST_ID = (
    "Identifies the request in the logs: up to 64 letters, digits, dots, hyphens or underscores. Any other value is "
    "replaced with a generated id."
)


class AutoSchema(yasg.SwaggerAutoSchema):
    # Without drf-yasg's last inspector, which describes unknown fields as strings.
    field_inspectors = [
        *(inspectors.SerializerInspector, inspectors.FieldInspector),
        *(yasg.ChoiceFieldInspector, yasg.JSONFieldInspector),
        *(yasg.SerializerMethodFieldInspector, yasg.SimpleFieldInspector),
    ]
    filter_inspectors = [inspectors.FilterInspector]
    paginator_inspectors = [inspectors.PaginatorInspector]

    def __init__(self, view: Any, path: str, method: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(view, path, method, *args, **kwargs)
        self.is_page = method == "GET" and "cursor" in view.query_parameters
        self.reads_json = method == "GET" and "produces" not in self.overrides
        self.takes_if_match = method in view.if_match_methods
        # wraps() keeps the globals of the wrapper's module
        self.is_keyed = getattr(view, method.lower()).__globals__ is vars(idempotency)
        self.limits = ["RateLimit", "RateLimit-Policy"] if view.throttle_classes else []

    def get_tags(self, operation_keys: Any = None) -> list[str]:
        return [self.view.tag]

    def get_summary_and_description(self) -> tuple[Any, Any]:
        """Ignore docstrings, which are not for API users."""
        return self.overrides.get("operation_summary"), self.overrides.get("operation_description")

    def get_produces(self) -> list[str]:
        return [*self.overrides.get("produces", [JSON]), CONTENT_TYPE]

    def get_security(self) -> list[dict[str, list[str]]]:
        if not any(issubclass(each, BearerAuthentication) for each in self.view.authentication_classes):
            return []
        return [*([{}] if AllowAny in self.view.permission_classes else []), {"Bearer": []}]

    def get_view_serializer(self) -> Any:
        return self.view.serializer_class and self.view.serializer_class()

    def get_request_serializer(self) -> Any:
        serializer = super().get_request_serializer()
        mode = SchemaMode.__members__.get(self.method, SchemaMode.NEW)
        return serializer and type(serializer)(partial=mode is SchemaMode.PATCH, context={MODE: mode})

    def get_request_body_schema(self, serializer: Any) -> openapi.SchemaRef:
        reference = self.serializer_to_schema(serializer)
        reference.resolve(self.components)["example"] = self.body_example(serializer)
        return reference

    def body_example(self, serializer: Any) -> dict[str, Any]:
        """Return the example of the view; by default the writable part of the serializer's example."""
        example = self.overrides.get("example") or serializer_example(serializer)
        return {name: value for name, value in example.items() if not serializer.fields[name].read_only}

    def make_body_parameter(self, schema: openapi.SchemaRef) -> openapi.Parameter:
        return openapi.Parameter("body", openapi.IN_BODY, required=True, schema=schema)

    def add_manual_parameters(self, parameters: list[openapi.Parameter]) -> list[openapi.Parameter]:
        known = [
            ("If-Match", IF_MATCH, etags.PATTERN, self.takes_if_match),
            ("If-None-Match", IF_NONE_MATCH, None, self.reads_json),
            (idempotency.HEADER, KEY, f"^{idempotency.KEY.pattern}$", self.is_keyed),
            (request_id.HEADER, REQUEST_ID, None, True),
        ]
        taken = [
            openapi.Parameter(name, openapi.IN_HEADER, text, required=False, type="string", pattern=pattern)
            for name, text, pattern, is_taken in known
            if is_taken
        ]
        return [*super().add_manual_parameters(parameters), *taken]

    def get_responses(self) -> openapi.Responses:
        given = {
            status: each if isinstance(each, openapi.Response) else openapi.Response(each)
            for status, each in self.overrides.get("responses", {}).items()
        }
        success = next(filter(is_success, given), guess_response_status(self.method.lower()))
        found = {success: self.success(success, given.pop(success, openapi.Response("")))}
        if self.reads_json:
            found[304] = openapi.Response(responses.NOT_MODIFIED, headers=headers("ETag", *self.limits))
        for status in sorted(self.derived_errors() | given.keys()):
            found[status] = self.error_response(status, given.get(status))
        problem = self.serializer_to_schema(responses.ProblemSerializer())
        otherwise = openapi.Response(responses.OTHERWISE, problem, headers=headers())
        return openapi.Responses({str(status): each for status, each in found.items()}, default=otherwise)

    def success(self, status: int, given: openapi.Response) -> openapi.Response:
        """Return the response that the view declares; by default 200 and 201 have the view's serializer as body."""
        schema = given.get("schema") or (self.view.serializer_class if status in (200, 201) else None)
        has_tag = self.reads_json or (self.takes_if_match and schema)
        names = [*self.overrides.get("headers", []), *(["ETag"] if has_tag else []), *self.limits]
        text, examples = given.description or responses.success_text(self.method, schema, self.is_page), None
        if schema:
            examples = given.get("examples") or {JSON: self.response_example(schema())}
            schema = schema if isinstance(schema, openapi.Schema) else self.serializer_to_schema(schema())
        if self.is_page:
            schema = self.get_paginated_response(schema)
        return openapi.Response(text, schema, examples, headers(*names))

    def response_example(self, serializer: Any) -> dict[str, Any]:
        shown = serializer_example(serializer)
        if self.method in ("PUT", "PATCH"):
            changes = self.body_example(self.get_request_serializer())
            shown |= {name: value for name, value in changes.items() if name in shown}
        return {"next": None, "previous": None, "results": [shown]} if self.is_page else shown

    def error_response(self, status: int, given: openapi.Response | None) -> openapi.Response:
        is_conflict = status == Conflict.status_code
        is_about_key = is_conflict and self.is_keyed
        names = [*responses.STATUS_HEADERS.get(status, []), *(["Retry-After"] if is_about_key else []), *self.limits]
        texts = [given.description] if given and given.description else []
        if not texts or is_about_key:
            texts.append(responses.TEXTS[status])
        serializer = (given or {}).get("schema", responses.PROBLEMS.get(status, responses.ProblemSerializer))
        error = Conflict() if given and is_conflict else responses.EXAMPLES[status]
        example = {CONTENT_TYPE: responses.example(error, self.path)}
        schema = self.serializer_to_schema(serializer())
        return openapi.Response(" Or: ".join(texts), schema, example, headers(*names))

    def derived_errors(self) -> set[int]:
        has_body = self.get_request_serializer() is not None
        applies = {
            **dict.fromkeys((400, 503), True),
            401: bool(self.get_security()),
            403: self.requires_admin(),
            404: "{" in self.path,
            **dict.fromkeys((409, 422), self.is_keyed),
            412: self.takes_if_match,
            **dict.fromkeys((413, 415), has_body),
            429: bool(self.limits),
        }
        return {status for status, does in applies.items() if does}

    def requires_admin(self) -> bool:
        """Return whether the permissions of the view reject users who are not admins."""
        user = Caller(id=1, username="alice", role="user", epoch=0)
        request: Any = SimpleNamespace(method=self.method, user=user, data={})
        return not all(
            permission.has_permission(request, self.view) and permission.has_object_permission(request, self.view, None)
            for permission in self.view.get_permissions()
        )


def serializer_example(serializer: Any) -> dict[str, Any]:
    """Return the example in a serializer's `Meta.swagger_schema_fields`."""
    fields = getattr(getattr(serializer, "Meta", None), "swagger_schema_fields", {})
    return dict(fields.get("example", {}))
