"""drf-yasg's generator, told what ours are: which routes there are, in which order, and what each is."""

from collections.abc import Sequence
from typing import Any

from drf_yasg import openapi
from drf_yasg.generators import EndpointEnumerator, OpenAPISchemaGenerator
from uritemplate import variables

from chassis.api.problems import CONTENT_TYPE
from chassis.auth.gate import ServiceAuthentication
from chassis.openapi import answers, parameters
from chassis.openapi.operations import JSON, Chapter, Operation
from chassis.openapi.schemas import Definitions

BEARER = {
    "type": "apiKey",
    "name": "Authorization",
    "in": "header",
    "description": "`Bearer <access token>`, or the access token alone; `POST /token/` at the user service gives one.",
}


class Endpoints(EndpointEnumerator):
    """What people may call: not what services ask of each other, nor what is no view of DRF's (health, metrics)."""

    def should_include_endpoint(self, path: str, callback: Any, *args: Any, **kwargs: Any) -> bool:
        if ServiceAuthentication in getattr(getattr(callback, "cls", None), "authentication_classes", ()):
            return False
        return bool(super().should_include_endpoint(path, callback, *args, **kwargs))


class Generator(OpenAPISchemaGenerator):
    endpoint_enumerator_class = Endpoints

    def __init__(self, info: openapi.Info, chapters: Sequence[Chapter]) -> None:
        super().__init__(info, url="")  # no host: calls go to where the page came from
        self.tags = {name: text for chapter in chapters for name, text in chapter.tags.items()}
        self.operations = {call: each for chapter in chapters for call, each in chapter.operations.items()}
        self.notes = {kind: notes for chapter in chapters for kind, notes in chapter.notes.items()}

    def get_schema(self, request: Any = None, public: bool = True) -> openapi.Swagger:
        schema = super().get_schema(request, public)
        schema["tags"] = [{"name": name, "description": text} for name, text in self.tags.items()]
        schema["definitions"] = dict(sorted(schema["definitions"].items()))
        return schema

    def determine_path_prefix(self, paths: list[str]) -> str:
        return "/"

    def get_security_definitions(self) -> dict[str, Any]:
        return {"Bearer": BEARER}

    def get_paths_object(self, paths: dict[str, Any]) -> openapi.Paths:
        """Return the paths in the order in which their operations are written down."""
        order = [operation.id for operation in self.operations.values()]
        ids = {path: [each.operation_id for _, each in item.operations] for path, item in paths.items()}
        return openapi.Paths(
            {path: paths[path] for path in sorted(paths, key=lambda path: min(map(order.index, ids[path])))}
        )

    def get_path_parameters(self, path: str, view_cls: type) -> list[openapi.Parameter]:
        return [parameters.in_path(name) for name in variables(path)]

    def get_operation(self, view: Any, path: str, prefix: str, method: str, components: Any, request: Any) -> Any:
        operation = self.operations[type(view), method.lower()]
        make = Definitions(components.with_scope(openapi.SCHEMA_DEFINITIONS), self.notes)
        keyed = parameters.is_keyed(getattr(view, method.lower()))
        media_type = operation.answer.media_type
        return openapi.Operation(
            operation_id=operation.id,
            summary=operation.summary,
            description=operation.description or None,
            tags=[operation.tag],
            security=answers.security(view),
            consumes=[JSON] if operation.body else None,
            produces=list(dict.fromkeys([media_type, CONTENT_TYPE])),
            parameters=self.get_parameters(view, method, operation, keyed, make),
            responses=answers.responses(view, method, path, operation, keyed, make),
        )

    def get_parameters(
        self, view: Any, method: str, operation: Operation, keyed: bool, make: Definitions
    ) -> list[openapi.Parameter]:
        body = [parameters.in_body(make.of_body(operation.body))] if operation.body else []
        query = parameters.in_query(view, make) if method == "GET" else []
        reads_json = answers.reads_json(method, operation.answer)
        takes_if_match = method in view.if_match_methods
        headers = parameters.in_headers(takes_if_match=takes_if_match, reads_json=reads_json, is_keyed=keyed)
        return [*body, *query, *headers]
