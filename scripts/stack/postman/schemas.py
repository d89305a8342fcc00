"""Schemas of Swagger 2.0 as JSON Schema has them, for the validator in Postman."""

from typing import Any

from stack.postman.documents import Operation, Schema

KNOWN_FORMATS = {"date", "date-time", "email", "uri"}
KEPT = ("type", "enum", "pattern", "minLength", "maxLength", "minimum", "minItems", "maxItems", "required")


def plain(operation: Operation, schema: Schema) -> Schema:
    """Return a schema of an answer: all that is described as always there must be, and nothing undescribed may."""
    schema = operation.resolved(schema)
    found: Schema = {name: schema[name] for name in KEPT if name in schema}
    if schema.get("format") in KNOWN_FORMATS:
        found["format"] = schema["format"]
    if "items" in schema:
        found["items"] = plain(operation, schema["items"])
    if "properties" in schema:
        properties = {name: plain(operation, each) for name, each in schema["properties"].items()}
        required = [name for name, each in schema["properties"].items() if "x-optional" not in each]
        found |= {"properties": properties, "required": required, "additionalProperties": False}
    return nullable(found) if schema.get("x-nullable") else found


def nullable(schema: Schema) -> Schema:
    also: dict[str, Any] = {"type": [schema["type"], "null"]} if "type" in schema else {}
    return schema | also
