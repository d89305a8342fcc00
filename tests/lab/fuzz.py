"""scripts/fuzz: call every operation of a stack with valid and invalid data from its OpenAPI documents."""

import argparse
import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from stack import bootstrap, orphans
from stack.console import say, step
from tests.lab.client import Client
from tests.lab.fuzz_users import create_users
from tests.lab.stacks import lab_command, running_stack

SERVICES = ("user", "task")
ROLES = ("user", "admin")
METHODS = ("get", "post", "put", "patch", "delete")
PHASES = ("examples", "coverage", "fuzzing", "stateful")
MAX_MINOR, MIN_MINOR = 15, 12  # of Python 3: schemathesis crashed on older ones
GATEWAY_STATUSES = ("414", "421", "431", "502", "504")  # documented under "default"
DEFAULT_CASES = 2000
END_SECONDS = 10
COVERAGE_CASES = 64  # per operation: about the number that its coverage phase generates
SETTINGS = {"NOTIFICATION_CHANNELS": "log,email", "ASSIGNEES_CAN_UPDATE_STATUS": "true"}
Document = dict[str, Any]
Tally = dict[str, dict[str, int]]  # responses by operation and status


def main() -> None:
    arguments = parse()
    with lab_command("fuzz"):
        status = fuzz(arguments.cases, seed=arguments.seed)
    sys.exit(status)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Start a stack and call every operation of both services, as an admin and as a user, with valid "
        "and invalid data. No response may be a server error or undocumented.",
    )
    parser.add_argument(
        "--cases", type=int, default=DEFAULT_CASES, metavar="N", help=f"about how many; {DEFAULT_CASES} by default"
    )
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10_000), metavar="N", help="seed of all random choices"
    )
    arguments = parser.parse_args()
    if arguments.cases < 1:
        parser.error(f"--cases is {arguments.cases}; it must be 1 or more")
    return arguments


@dataclass(frozen=True, slots=True)
class FuzzRun:
    """Fuzzing of one service as one role."""

    service: str
    role: str
    document: Document
    passed: bool
    tally: Tally


def fuzz(cases: int, *, seed: int) -> int:
    """Return the exit status."""
    python = bootstrap.install("fuzz", venv=bootstrap.VENV / "fuzz", interpreter=interpreter())
    say(f"About {cases:,} cases, --seed {seed}")
    runs = []
    with running_stack(**SETTINGS) as (state, port):
        admin = Client(port, password=state.admin_password.read_text().strip(), name="fuzz")
        admin.sign_in()
        documents = {name: strict(admin.retry_until_ok("GET", f"/{name}/swagger.json")) for name in SERVICES}
        with step("Creating users and tasks"):
            users = create_users(admin, state.mail)
        share = cases / (len(ROLES) * sum(len(calls(document)) for document in documents.values()))
        for service, role in product(SERVICES, ROLES):
            say(f"\nThe {service} service, as {role}")
            setup = {"port": port, "role": role, "seed": seed, **users[role]}
            document, place = documents[service], state.folder / f"{service}-{role}"
            runs.append(FuzzRun(service, role, document, *call_all(python, document, setup, place, share)))
    return report(runs, is_small=cases < DEFAULT_CASES)


def interpreter() -> str:
    """Return the newest installed Python."""
    siblings = Path(sys.base_prefix).parent
    for minor in range(MAX_MINOR, MIN_MINOR - 1, -1):
        name = f"python3.{minor}"
        for found in (name, *siblings.glob(f"*/bin/{name}")):
            if can_make_environments(str(found)):
                return str(found)
    return sys.executable


def can_make_environments(python: str) -> bool:
    """Return whether it runs: pyenv's shims may only print an error."""
    try:
        return (
            subprocess.run([python, "-c", "import ensurepip, venv"], check=False, capture_output=True).returncode == 0
        )
    except OSError:
        return False


def calls(document: Document) -> dict[str, Any]:
    """Return {"GET /task/tasks/": the operation}."""
    paths = document["paths"].items()
    return {f"{method.upper()} {path}": item[method] for path, item in paths for method in METHODS if method in item}


def strict(document: Document) -> Document:
    """Return the document without `default` responses and undocumented fields, which would accept anything."""
    for operation in calls(document).values():
        responses = operation["responses"]
        responses.update(dict.fromkeys(GATEWAY_STATUSES, responses.pop("default")))
    for schema in schemas(document["definitions"]):
        if schema["type"] == "object" and "additionalProperties" not in schema:
            schema |= {"additionalProperties": False}
        if "pattern" in schema and "maxLength" in schema:
            # An equivalent pattern that schemathesis does not merge with the length: for 50,000 that takes seconds.
            schema["pattern"] = f"^$|{schema['pattern']}"
    return document


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema with a type in a tree."""
    if isinstance(node, dict):
        if isinstance(node.get("type"), str):
            yield node
        for each in node.values():
            yield from schemas(each)


def call_all(python: Path, document: Document, setup: dict[str, Any], place: Path, share: float) -> tuple[bool, Tally]:
    """Run `share` cases of each operation; return whether all passed, and the responses."""
    place.mkdir()
    coverage_share = min(share / 2, COVERAGE_CASES)
    files = {name: place / f"{name}.json" for name in ("document", "setup", "tally")}
    files["document"].write_text(json.dumps(document))
    more = {"tally": str(files["tally"]), "coverage_share": coverage_share / COVERAGE_CASES}
    files["setup"].write_text(json.dumps(setup | more))
    options = {
        "url": f"http://127.0.0.1:{setup['port']}",
        "seed": setup["seed"],
        "max-examples": math.ceil(share - coverage_share),
        "phases": ",".join(PHASES),
        "output-sanitize": "false",  # or the printed curl command would not repeat the request
        "generation-database": "none",
        "warnings": "off",
    }
    argv = [str(python), "-m", "schemathesis.cli", "run", str(files["document"]), "--continue-on-failure"]
    argv += ["--no-color", *(f"--{name}={value}" for name, value in options.items())]
    own = {
        "SCHEMATHESIS_HOOKS": "tests.lab.fuzz_hooks",
        "FUZZ_SETUP": str(files["setup"]),
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
    try:
        done = subprocess.run(argv, check=False, cwd=place, env=os.environ | own, stdin=subprocess.DEVNULL)
    finally:
        orphans.end_children(seconds=END_SECONDS)  # Ctrl-C may come during its start
    tally = json.loads(files["tally"].read_text()) if files["tally"].is_file() else {}
    return done.returncode == 0 and bool(tally), tally


def report(runs: list[FuzzRun], *, is_small: bool) -> int:
    """Print the responses and a summary; return the exit status."""
    statuses: Counter[str] = Counter()
    for run in runs:
        for answers in run.tally.values():
            statuses.update(answers)
    say("\nAnswers: " + ", ".join(f"{number:,} of {status}" for status, number in sorted(statuses.items())))
    unmet = [] if is_small else [(call, run) for run in runs for call in never_succeeded(run)]
    for call, run in unmet:
        answers = run.tally.get(call, {})
        say(f"{call} as {run.role} never succeeded, so it was not really tested; responses: {answers}")
    failed = [f"the {run.service} service as {run.role}" for run in runs if not run.passed]
    operations = len({call for run in runs for call in calls(run.document)})
    figures = f"{statuses.total():,} cases over {operations} operations, as admin and as user"
    say(f"{figures}: failures at {', '.join(failed)}" if failed else f"{figures}: 0 server errors, 0 undocumented")
    return 1 if failed or unmet else 0


def never_succeeded(run: FuzzRun) -> Iterator[str]:
    """Yield the operations that should succeed for the role but never did."""
    for call, operation in calls(run.document).items():
        for_admins = "security" in operation and "403" in operation["responses"]
        succeeded = any(status.startswith("2") for status in run.tally.get(call, {}))
        if not succeeded and (run.role == "admin" or not for_admins):
            yield call


if __name__ == "__main__":
    main()
