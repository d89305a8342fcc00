"""The shell blocks of the README and the API tour, each with its documented output."""

import json
import re
from dataclasses import dataclass, replace

from stack.bootstrap import ROOT

PAGES = ["README.md", "docs/api-tour.md"]  # in the order in which a reader pastes them
FENCE = re.compile(r"^```(sh|json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIVIDER = "-- next --"
# These differ in every run.
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
    place: str  # page and line
    commands: str
    kind: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Printed:
    text: str
    cpu_seconds: int  # of all commands pasted so far


def blocks():
    """Return every block to paste, in order, with the output that follows it, if any."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        for fence in FENCE.finditer(text):
            kind, content = fence.groups()
            if kind == "sh":
                found.append(Block(f"{page}:{text.count(chr(10), 0, fence.start()) + 2}", content))
            else:
                assert not found[-1].answer, f"{found[-1].place}: one block, two outputs"
                found[-1] = replace(found[-1], kind=kind, answer=content)
    return found


# The second line of `times` is of ended children: their user time, then their system time, such as 1m2.345s.
CPU_SECONDS = r"""awk 'NR == 2 { split($1 "m" $2, t, /[ms]+/); print int(60 * (t[1] + t[3]) + t[2] + t[4]) }'"""


def script(port):
    """Return all blocks as one script that prints a divider and the CPU seconds since its start after each."""
    after = f'\necho; times > $TIMES; echo "{DIVIDER} $({CPU_SECONDS} $TIMES)"\n'
    lines = "".join(block.commands + after for block in blocks()).replace("localhost:8080", f"localhost:{port}")
    return f"TIMES=$(mktemp)\n{lines}rm $TIMES\n"


def read(output):
    """Return the output of each block of the script."""
    parts = re.split(rf"^{DIVIDER} (\d+)\n", output, flags=re.MULTILINE)
    return [Printed(text, int(cpu)) for text, cpu in zip(parts[::2], parts[1::2], strict=False)]


def has_sample(method, path):
    """Return whether a block with output calls the operation, with a number or a variable as ID."""
    place = re.compile(re.sub(r"\{\w+\}", r"(\\d+|\\$[A-Z]+)", path.rstrip("/")) + "/?")
    calls = (call for block in blocks() if block.answer for call in CALL.findall(block.commands))
    return any(place.fullmatch(called) and method == method_of(line) for line, called in calls)


def method_of(line):
    """Return curl's method: that of -X, or else POST with a body."""
    named = re.search(r" -X (\w+)", line)
    return named[1] if named else "POST" if " -d " in line else "GET"


def normal(kind, text):
    """Return the lines of an output without what varies. JSON is formatted; its keys keep their order."""
    for pattern, name in VARYING.items():
        text = re.sub(pattern, name, text)
    # Other dates are relative to today.
    text = DATE.sub(lambda date: date[0] if date[0] in COMMANDS else "DATE", text).strip()
    if kind == "json":
        text = "\n".join(json.dumps(value, indent=1) for value in json_values(text))
    return [line.strip() for line in text.splitlines()]


def json_values(text):
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:].lstrip()


COMMANDS = "".join(block.commands for block in blocks())
