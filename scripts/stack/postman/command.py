"""scripts/postman: writes postman/ anew, or tells with --check whether it is what would be written."""

import argparse
import sys
from difflib import unified_diff
from itertools import islice

from stack.console import Refused, say, step
from stack.postman.builder import PARTS, files
from stack.postman.documents import operations
from stack.postman.story import STORY

SHOWN_LINES = 40


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/postman", description="Makes the Postman collection of the API documentation and of the story."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the files are not what they would be"
    )
    checks = parser.parse_args().check
    try:
        with step("Reading the API documentation of both services"):
            known = operations()
        made = files(STORY, known)
        compare(made) if checks else write(made)
    except Refused as error:
        sys.exit(f"scripts/postman: {error}")


def write(made: dict[str, str]) -> None:
    for name, text in made.items():
        (PARTS / name).write_text(text)
        say(f"Wrote postman/{name}.")


def compare(made: dict[str, str]) -> None:
    for name, text in made.items():
        found = (PARTS / name).read_text() if (PARTS / name).is_file() else ""
        lines = unified_diff(found.splitlines(), text.splitlines(), f"postman/{name}", "what it would be", lineterm="")
        if difference := "\n".join(islice(lines, SHOWN_LINES)):
            raise Refused(f"postman/{name} is not up to date; scripts/postman writes it anew:\n{difference}")
    say("postman/ is what it would be.")


if __name__ == "__main__":
    main()
