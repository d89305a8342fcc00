"""The scripts of a request: what is set before it, and what is tested and kept of its answer."""

import json
from collections.abc import Iterator

from stack.postman.documents import Operation, Schema
from stack.postman.schemas import plain
from stack.postman.steps import Step

OF_LIMITS = {"RateLimit", "RateLimit-Policy"}  # both are there, or, where the limits are off, neither
SOMETIMES = {"Retry-After"}
PREAMBLE = """\
const expect = pm.expect, headers = pm.response.headers;
const saved = name => pm.environment.get(name), id = name => Number(saved(name));"""


def before(step: Step) -> list[str]:
    return [f"pm.environment.set({json.dumps(name)}, {value});" for name, value in step.new.items()]


def after(step: Step, operation: Operation) -> list[str]:
    """Return the script that judges an answer, unless the collection's own has decided to send the request again."""
    lines = [*PREAMBLE.splitlines(), *reading(step, operation), "", *tests(step, operation)]
    kept = [f"pm.environment.set({json.dumps(name)}, String({value}));" for name, value in step.keeps.items()]
    gone = [f"pm.environment.unset({json.dumps(name)});" for name in step.forgets]
    indented = (f"    {line}".rstrip() for line in [*lines, *kept, *gone])
    return ['if (!pm.variables.get("is_sent_again")) {', *indented, "}"]


def reading(step: Step, operation: Operation) -> Iterator[str]:
    if media_type := content_type(step, operation):
        yield f"const answer = pm.response.{'json' if media_type.endswith('json') else 'text'}();"
    if schema := schema_of_answer(step, operation):
        yield f"const schema = {json.dumps(schema)};"


def tests(step: Step, operation: Operation) -> Iterator[str]:
    yield test(f"The status is {step.status}", f"expect(pm.response.code).to.equal({step.status})")
    if media_type := content_type(step, operation):
        same = f'expect(headers.get("Content-Type").split(";")[0]).to.equal({json.dumps(media_type)})'
        yield test(f"It is {media_type}", same)
    else:
        yield test("It has no body", 'expect(pm.response.text()).to.equal("")')
    for name in documented_headers(step, operation):
        yield test(f"It has the header {name}", f"pm.response.to.have.header({json.dumps(name)})")
    both = 'expect(headers.has("RateLimit")).to.equal(headers.has("RateLimit-Policy"))'
    yield test("Where there is a limit, it tells what is left", both)
    if schema_of_answer(step, operation):
        yield test("It is as the API documentation says", "pm.response.to.have.jsonSchema(schema)")
    for sentence, line in step.tests.items():
        yield test(sentence, line)


def schema_of_answer(step: Step, operation: Operation) -> Schema | None:
    schema = documented(step, operation).get("schema")
    return plain(operation, schema) if schema and schema.get("type") != "file" else None


def test(sentence: str, line: str) -> str:
    return f"pm.test({json.dumps(sentence)}, () => {line});"


def content_type(step: Step, operation: Operation) -> str:
    """Return the media type of the answer; empty where it has no body."""
    if "schema" not in documented(step, operation):
        return ""
    return "application/problem+json" if step.status >= 400 else str(operation.spec["produces"][0])


def documented_headers(step: Step, operation: Operation) -> list[str]:
    return [name for name in documented(step, operation).get("headers", {}) if name not in OF_LIMITS | SOMETIMES]


def documented(step: Step, operation: Operation) -> Schema:
    return operation.answer(step.status) or {}
