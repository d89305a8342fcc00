"""A parser for .env files that accepts only lines that Docker Compose reads in the same way.

The grammar is described at the top of .env.example; tests/data/dotenv.json has samples and how Compose reads them.
"""

import re

ENTRY = re.compile(
    r"""
    [ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) [ \t]* = [ \t]*
    (?:
        (?: '(?P<literal>(?:[^'\\]|\\(?!'))*)' | "(?P<escaped>(?:[^"\\$]|\\["\\$nrt])*)" ) (?:[ \t]+\#[^\r\n]*)?
        | (?P<plain>[^\s'"$\#](?:[^\s$]|[ \t]+(?=[^\s\#$]))*) (?:[ \t]*[ ]\#[^\r\n]*)?
        |
    )
    [ \t]* (?:\r?\n|\Z)
    """,
    re.VERBOSE,
)
BLANK = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r?\n|\Z)")
ESCAPE = re.compile(r"\\(.)")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class UnreadableLine(ValueError):
    """The text is one sentence that begins with the line number and does not contain the value."""


def parse(text: str) -> dict[str, str]:
    """Return the variables of a .env file; the last line of a name wins."""
    values: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = BLANK.match(text, position) or ENTRY.match(text, position)
        if found is None:
            raise UnreadableLine(f"line {text.count(chr(10), 0, position) + 1}: {remedy(text, position)}")
        if found.re is ENTRY:
            values[found["name"]] = entry_value(found)
        position = found.end()
    return values


def entry_value(entry: re.Match[str]) -> str:
    if entry["escaped"] is not None:
        return ESCAPE.sub(lambda found: ESCAPES.get(found[1], found[1]), entry["escaped"])
    return entry["literal"] or entry["plain"] or ""


def remedy(text: str, position: int) -> str:
    line = text[position:].partition("\n")[0]
    if not re.match(r"[ \t]*(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=", line):
        return "this is neither NAME=VALUE nor a comment that begins with #."
    return "write the value in single quotes, NAME='VALUE', or see the top of .env.example for the syntax."
