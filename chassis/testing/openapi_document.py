"""The OpenAPI document of a service for tests: by call, and with closed schemas."""

import json
import re
import warnings
from functools import cached_property

from jsonschema import Draft4Validator

with warnings.catch_warnings():  # it imports a deprecated module of jsonschema
    warnings.simplefilter("ignore", DeprecationWarning)
    from swagger_spec_validator.validator20 import validate_spec

METHODS = ("get", "post", "put", "patch", "delete")


class Document:
    def __init__(self, documentation):
        self.spec = json.loads(documentation.json)
        self.validators = {}

    @cached_property
    def operations(self):
        """Return {"GET /task/tasks/{id}/": the operation}."""
        return {
            f"{method.upper()} {re.sub(r'{[a-z_]+}', '{id}', path)}": item[method]
            for path, item in self.spec["paths"].items()
            for method in METHODS
            if method in item
        }

    @cached_property
    def routes(self):
        return {call.split()[1] for call in self.operations}

    def assert_valid(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            validate_spec(json.loads(json.dumps(self.spec)))

    def parameters(self, call, place):
        return {each["name"]: each for each in self.operations[call]["parameters"] if each["in"] == place}

    def response_errors(self, call, status, body):
        """Return the errors of a response against its schema. It must have every property that is not optional, and no
        others."""
        if (call, status) not in self.validators:
            schema = self.operations[call]["responses"][status].get("schema", {})
            self.validators[call, status] = Draft4Validator(self.plain(schema, closed=True))
        return [f"{error.json_path}: {error.message}" for error in self.validators[call, status].iter_errors(body)]

    def body_errors(self, call, body):
        schema = self.plain(self.parameters(call, "body")["body"]["schema"], closed=False)
        return [f"{error.json_path}: {error.message}" for error in Draft4Validator(schema).iter_errors(body)]

    def plain(self, schema, *, closed):
        """Convert to JSON Schema: without references, and with null as a type."""
        if "$ref" in schema:
            return self.plain(self.spec["definitions"][schema["$ref"].removeprefix("#/definitions/")], closed=closed)
        found = dict(schema)
        if "properties" in schema:
            found["properties"] = {name: self.plain(each, closed=closed) for name, each in schema["properties"].items()}
            if closed:
                found |= {"additionalProperties": False, **required_properties(found["properties"])}
        if "items" in schema:
            found["items"] = self.plain(schema["items"], closed=closed)
        if schema.get("x-nullable") and "type" in schema:
            found["type"] = [*([kind] if isinstance(kind := schema["type"], str) else kind), "null"]
        return found


def required_properties(properties):
    required = [name for name, schema in properties.items() if "x-optional" not in schema]
    return {"required": required} if required else {}
