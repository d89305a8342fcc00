"""Makes the collection and the environments of the story and of the operations it calls."""

import json
import re
from typing import Any

from stack.bootstrap import ROOT
from stack.console import Refused
from stack.postman import scripts
from stack.postman.documents import Operation
from stack.postman.steps import Folder, Step, Texts

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
PARTS = ROOT / "postman"
Json = dict[str, Any]
DESCRIPTION = """\
A walk through TMService as people use it. Choose an environment, set `admin_password` in it, and run it all, or send
any request on its own: tokens are fetched and refreshed by themselves, and a 429 is waited out. It makes an account
`alice-...` and another, and deletes at the end what it made.

Made by `scripts/postman` from the API documentation of both services; change it there.
"""
SECRETS = ("admin_password", "admin_access", "admin_refresh", "alice_password", "alice_access", "alice_refresh")
ENVIRONMENTS = {"local": "http://localhost:8080", "deployed": "https://your-gateway.example.com"}


def files(story: list[Folder], operations: dict[str, Operation]) -> dict[str, str]:
    """Return the text of each file by its name."""
    made = {"tmservice.postman_collection.json": collection(story, operations)}
    for name, base_url in ENVIRONMENTS.items():
        made[f"{name}.postman_environment.json"] = environment(name, base_url)
    return {name: json.dumps(each, indent=2, ensure_ascii=False) + "\n" for name, each in made.items()}


def environment(name: str, base_url: str) -> Json:
    known = {"base_url": base_url, "admin_username": "admin"}
    values = [{"key": key, "value": value, "type": "default", "enabled": True} for key, value in known.items()]
    secrets = [{"key": key, "value": "", "type": "secret", "enabled": True} for key in SECRETS]
    return {"name": f"TMService, {name}", "values": [*values, *secrets], "_postman_variable_scope": "environment"}


def collection(story: list[Folder], operations: dict[str, Operation]) -> Json:
    refuse_gaps(story, operations)
    return {
        "info": {"name": "TMService", "description": DESCRIPTION, "schema": SCHEMA},
        "auth": {"type": "noauth"},
        "event": [
            event("prerequest", (PARTS / "tokens.js").read_text().splitlines()),
            event("test", (PARTS / "again.js").read_text().splitlines()),
        ],
        "item": [
            {
                "name": folder.name,
                "description": folder.description,
                "item": [item(step, operations[step.operation]) for step in folder.steps],
            }
            for folder in story
        ],
    }


def refuse_gaps(story: list[Folder], operations: dict[str, Operation]) -> None:
    steps = [step for folder in story for step in folder.steps]
    for step in steps:
        if step.operation not in operations:
            raise Refused(f"The step {step.name!r} calls {step.operation}, which is no operation of either service.")
    if left_out := operations.keys() - {step.operation for step in steps}:
        calls = ", ".join(sorted(operations[name].call for name in left_out))
        raise Refused(f"No step of the story calls {calls}.")
    names = [step.name for step in steps]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise Refused(f"Two steps of the story are called {doubled[0]!r}.")


def item(step: Step, operation: Operation) -> Json:
    if operation.answer(step.status) is None:
        raise Refused(f"The step {step.name!r} expects {step.status}, which {operation.call} does not document.")
    events = [event("prerequest", scripts.before(step))] if step.new else []
    events.append(event("test", scripts.after(step, operation)))
    return {"name": step.name, "event": events, "request": request(step, operation)}


def request(step: Step, operation: Operation) -> Json:
    headers = parameters(step, operation, "header", step.headers)
    made = {
        "method": operation.method,
        "description": f"{operation.spec['summary']}. {operation.spec.get('description', '')}".strip(),
        "auth": bearer(f"{{{{{step.by}_access}}}}") if step.by else {"type": "noauth"},
        "header": headers,
        "url": url(step, operation),
    }
    if operation.body:
        headers.insert(0, {"key": "Content-Type", "value": "application/json"})
        made["body"] = raw(step, operation, operation.body)
    return made


def bearer(token: str) -> Json:
    return {"type": "bearer", "bearer": [{"key": "token", "value": token, "type": "string"}]}


def url(step: Step, operation: Operation) -> Json:
    path = re.sub(r"{(\w+)}", r":\1", operation.path)
    chosen = "&".join(f"{name}={value}" for name, value in step.query.items())
    made: Json = {
        "raw": "{{base_url}}" + path + (f"?{chosen}" if chosen else ""),
        "host": ["{{base_url}}"],
        "path": path.removeprefix("/").split("/"),
    }
    if query := parameters(step, operation, "query", step.query):
        made["query"] = query
    names = operation.parameters("path")
    if in_path := parameters(step, operation, "path", {name: f"{{{{{name}}}}}" for name in names} | dict(step.path)):
        made["variable"] = in_path
    return made


def parameters(step: Step, operation: Operation, place: str, chosen: Texts) -> list[Json]:
    """Return all parameters that the document has there; those that are not chosen wait to be switched on."""
    known = operation.parameters(place)
    if unknown := chosen.keys() - known.keys():
        raise Refused(f"The step {step.name!r} sets {min(unknown)}, which {operation.call} does not take.")
    return [
        {"key": name, "value": chosen.get(name, ""), "description": described(each)}
        | ({} if name in chosen else {"disabled": True})
        for name, each in known.items()
    ]


def described(parameter: Json) -> str:
    choices = parameter.get("enum") or parameter.get("items", {}).get("enum")
    text = parameter.get("description", "")
    return f"{text} One of: {', '.join(choices)}.".strip() if choices else text


def raw(step: Step, operation: Operation, schema: Json) -> Json:
    body = schema["example"] if step.body is None else step.body
    if step.status < 400 and (unknown := body.keys() - schema["properties"].keys()):
        raise Refused(f"The step {step.name!r} sends {min(unknown)}, which {operation.call} does not take.")
    text = json.dumps(body, indent=2, ensure_ascii=False)
    numbers = re.sub(r'"({{\w+_id}})"', r"\1", text)
    return {"mode": "raw", "raw": numbers, "options": {"raw": {"language": "json"}}}


def event(listen: str, lines: list[str]) -> Json:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": lines}}
