"""The operations of both services, from the documents that their code makes. No stack runs for that."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stack.bootstrap import ROOT
from stack.check import SETTINGS
from stack.console import Refused

SERVICES = ("user_service", "task_service")
METHODS = ("get", "post", "put", "patch", "delete")
SHOW = """
import sys
import django
django.setup()
from config.urls import DOCUMENTATION
sys.stdout.buffer.write(DOCUMENTATION.json)
"""
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str  # with parameters as {task_id}
    spec: Schema
    shared: list[Schema]  # the parameters of its path
    definitions: dict[str, Schema]

    @property
    def call(self) -> str:
        return f"{self.method} {self.path}"

    def parameters(self, place: str) -> dict[str, Schema]:
        return {each["name"]: each for each in [*self.shared, *self.spec["parameters"]] if each["in"] == place}

    @property
    def body(self) -> Schema | None:
        """Return the schema of the request's body, with its example."""
        bodies = self.parameters("body")
        return self.resolved(bodies["body"]["schema"]) if bodies else None

    def answer(self, status: int) -> Schema | None:
        found: Schema | None = self.spec["responses"].get(str(status))
        return found

    def resolved(self, schema: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        return self.definitions[schema["$ref"].removeprefix("#/definitions/")]


def operations() -> dict[str, Operation]:
    """Return all operations of both services by their ids."""
    return {each.id: each for service in SERVICES for each in in_document(document(service))}


def in_document(document: Schema) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                spec, shared = item[method], item.get("parameters", [])
                yield Operation(spec["operationId"], method.upper(), path, spec, shared, document["definitions"])


def document(service: str) -> Schema:
    """Return a service's document. Nobody's own settings have a say in it."""
    environment = {"DJANGO_SETTINGS_MODULE": "config.settings", "PATH": os.defpath}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        check=False,
        cwd=ROOT / service,
        env=SETTINGS | environment,
        capture_output=True,
    )
    if done.returncode:
        raise Refused(f"{service} does not make its OpenAPI document:\n{done.stderr.decode().strip()}")
    made: Schema = json.loads(done.stdout)
    return made
