"""drf-yasg's generator, for the routes that users call."""

from collections.abc import Mapping
from typing import Any

from drf_yasg import openapi
from drf_yasg.generators import EndpointEnumerator, OpenAPISchemaGenerator
from uritemplate import variables

from chassis.auth.gate import ServiceAuthentication
from chassis.openapi.auto_schema import AutoSchema
from chassis.openapi.schemas import ID

TOKEN = "`Bearer <access token>`, or the access token alone. `POST /token/` of the user service returns one."
BEARER = {"type": "apiKey", "name": "Authorization", "in": "header", "description": TOKEN}


class Endpoints(EndpointEnumerator):
    """Leaves out routes between the services, and views that are not DRF's (health, metrics)."""

    def should_include_endpoint(self, path: str, callback: Any, *args: Any, **kwargs: Any) -> bool:
        if ServiceAuthentication in getattr(getattr(callback, "cls", None), "authentication_classes", ()):
            return False
        return bool(super().should_include_endpoint(path, callback, *args, **kwargs))


class Generator(OpenAPISchemaGenerator):
    endpoint_enumerator_class = Endpoints

    def __init__(self, info: openapi.Info, tags: Mapping[str, str]) -> None:
        super().__init__(info, url="")  # no host: requests go to the host of the page
        self.tags = tags

    def get_schema(self, request: Any = None, public: bool = True) -> openapi.Swagger:
        schema = super().get_schema(request, public)
        schema["tags"] = [{"name": name, "description": text} for name, text in self.tags.items()]
        schema["definitions"] = dict(sorted(schema["definitions"].items()))
        return schema

    def determine_path_prefix(self, paths: list[str]) -> str:
        return "/"

    def get_security_definitions(self) -> dict[str, Any]:
        return {"Bearer": BEARER}

    def get_overrides(self, view: Any, method: str) -> dict[str, Any]:
        return {"auto_schema": AutoSchema} | super().get_overrides(view, method)

    def get_path_parameters(self, path: str, view_cls: type) -> list[openapi.Parameter]:
        texts = {name: f"The id of the {name.removesuffix('_id').replace('_', ' ')}." for name in variables(path)}
        return [openapi.Parameter(name, openapi.IN_PATH, texts[name], required=True, **ID) for name in texts]
