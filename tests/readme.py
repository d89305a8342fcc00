"""The README as tests see it: lines to paste, each block with the answer that is printed below it."""

import json
import re
from dataclasses import dataclass, replace

from stack.bootstrap import ROOT

README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(sh|json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIVIDER = "-- next --"
# What is another in every run.
VARYING = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|\+00:00)": "INSTANT",
    r"eyJ[\w.-]+": "TOKEN",
    r"cursor=[\w%.:-]+": "cursor=CURSOR",
    r'(?<=ETag: "\d\.)[0-9a-f]{12}': "DIGEST",
    r'(?<="request_id": ")[0-9a-f]{32}|(?<="request_id":")[0-9a-f]{32}': "REQUEST",
    r"localhost:\d+": "localhost:8080",
    r'(?<="address":")::1(?=")|(?<="address": ")::1(?=")': "127.0.0.1",
    r"curl/[\d.]+": "curl/VERSION",
    r"(?<=;r=)[1-9]\d*": "LEFT",
    r"(?<=;t=)[1-9]\d*|(?<=Retry-After: )[1-9]\d*": "SECONDS",
}
CALL = re.compile(r"(curl [^|\n]*localhost:8080(/[^ '\"?\n]*)[^|\n]*)")
DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Block:
    line: int
    commands: str
    kind: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Printed:
    text: str
    seconds: int  # since the first line was pasted


def blocks():
    """Return every block to paste, in its order, with the answer that follows it, if one does."""
    found = []
    for fence in FENCE.finditer(README):
        kind, text = fence.groups()
        if kind == "sh":
            found.append(Block(README.count("\n", 0, fence.start()) + 2, text))
        else:
            assert not found[-1].answer, f"line {found[-1].line}: one block, two answers"
            found[-1] = replace(found[-1], kind=kind, answer=text)
    return found


def script(port):
    """Return all blocks for one shell, which prints a divider and the seconds since its start after each."""
    after = f'\necho; echo "{DIVIDER} $SECONDS"\n'
    return "".join(block.commands + after for block in blocks()).replace("localhost:8080", f"localhost:{port}")


def read(output):
    """Return what each block of the script has printed."""
    parts = re.split(rf"^{DIVIDER} (\d+)\n", output, flags=re.MULTILINE)
    return [Printed(text, int(seconds)) for text, seconds in zip(parts[::2], parts[1::2], strict=False)]


def has_sample(method, path):
    """Whether a line that calls it stands in a block with an answer, with a number or a variable for an id."""
    place = re.compile(re.sub(r"\{\w+\}", r"(\\d+|\\$[A-Z]+)", path.rstrip("/")) + "/?")
    calls = (call for block in blocks() if block.answer for call in CALL.findall(block.commands))
    return any(place.fullmatch(called) and method == method_of(line) for line, called in calls)


def method_of(line):
    """Return what curl sends: as -X says, else POST where there is a body."""
    named = re.search(r" -X (\w+)", line)
    return named[1] if named else "POST" if " -d " in line else "GET"


def normal(kind, text):
    """Return the lines of an answer, without what varies; JSON is laid out anew, with its keys in their order."""
    for pattern, name in VARYING.items():
        text = re.sub(pattern, name, text)
    # A date that no line has typed is counted from today, by the demo.
    text = DATE.sub(lambda date: date[0] if date[0] in README_COMMANDS else "DATE", text).strip()
    if kind == "json":
        text = "\n".join(json.dumps(value, indent=1) for value in json_values(text))
    return [line.strip() for line in text.splitlines()]


def json_values(text):
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:].lstrip()


README_COMMANDS = "".join(block.commands for block in blocks())
