"""What the story is told in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Texts = Mapping[str, str]
GUID = 'pm.variables.replaceIn("{{$guid}}")'
FORBIDDEN = {"It says that one may not": 'expect(answer.code).to.equal("permission_denied")'}
ABSENT = {"As if there were none": 'expect(answer.code).to.equal("not_found")'}


def blames(field: str) -> Texts:
    """Return the test that an error is about that field or parameter."""
    return {f"It names {field}": f'expect(answer.errors.map(error => error.field)).to.include("{field}")'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request, and what its answer must be. `{{name}}` is a variable of the environment.

    `tests` gives each sentence a line of JavaScript that knows `answer` (its JSON, or else its text), `expect` (chai),
    `saved(name)` and `id(name)` (a variable, as text or number). `keeps` gives variables the value of an expression.
    """

    name: str
    operation: str  # the operationId of the document
    status: int
    by: str = ""  # whose token: admin, alice, or nobody's
    path: Texts = field(default_factory=dict)  # else each parameter is the variable of its name
    query: Texts = field(default_factory=dict)
    headers: Texts = field(default_factory=dict)
    body: Mapping[str, Any] | None = None  # else the document's example
    new: Texts = field(default_factory=dict)  # variables that are set before
    tests: Texts = field(default_factory=dict)
    keeps: Texts = field(default_factory=dict)
    forgets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    name: str
    description: str
    steps: tuple[Step, ...]
