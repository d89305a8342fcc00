"""scripts/test: run lint, type checks and all tests, on a real PostgreSQL and a running stack."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from chassis.time_limits import TIME_LIMITS
from deploy.provision import connected
from stack import check, other_python, postgres
from stack.bootstrap import ROOT
from stack.console import StackError, say, step
from stack.ports import free_ports
from stack.state import StateFolder

PACKAGES = ("chassis", "user_service", "task_service", "tests")
WITH_DATABASE = ("chassis", "user_service", "task_service")
MEASURED = ("chassis", "user_service", "task_service")
NOT_SLOW = ["-m", "not slow"]
# What differs between versions of Python does not depend on the parameters of a test.
FIRST_PARAMETERS = [*NOT_SLOW, "-p", "chassis.testing.first_parameters"]
ACCESS_CONTROL_MODULES = (
    "chassis/auth/authentication.py",
    "chassis/auth/permissions.py",
    "chassis/auth/tokens.py",
    "task_service/directory/accounts.py",
    "task_service/directory/authentication.py",
    "task_service/tasks/permissions.py",
    "user_service/accounts/authentication.py",
    "user_service/accounts/models/attempt.py",
    "user_service/accounts/models/password_token.py",
    "user_service/accounts/models/session.py",
    "user_service/accounts/tokens.py",
)
POSTGRES_OPTIONS = {
    # The cluster is temporary, so it may be lost in a crash.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "250",  # two tests with fifty callers each may run in parallel
}
# Connections of the tests get a longer statement timeout: the machine may be busy.
TEST_LIMITS = " ".join(f"-c {name}={value}" for name, value in (TIME_LIMITS | {"statement_timeout": "60s"}).items())


@dataclass(frozen=True, slots=True)
class Counts:
    passed: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.passed + other.passed, self.failed + other.failed)


def main() -> None:
    arguments = parse()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tmservice-test-") as folder:
        try:
            total = lint_and_types(arguments) + tests(Path(folder), arguments)
        except StackError as error:
            sys.exit(f"scripts/test: {error}")
    say(f"\nIn {time.monotonic() - began:.0f} s, {extent(arguments)}, nothing skipped:")
    say(f"total: {total.passed} passed, {total.failed} failed")
    sys.exit(total.failed > 0 or total.passed == 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/test", description="Run lint, type checks and tests. Needs only Python; leaves nothing running."
    )
    parser.add_argument("--all", action="store_true", help="what CI runs, including slow tests")
    parser.add_argument("-k", metavar="WORDS", help="only tests whose names match, without lint and types")
    parser.add_argument(
        "--python",
        metavar="VERSION",
        help=f"run the services' tests under this Python, such as {other_python.IMAGE_PYTHON}, or a path; "
        f"--all uses {other_python.IMAGE_PYTHON}, the version in the images",
    )
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"any of: {', '.join(PACKAGES)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.packages) - set(PACKAGES):
        parser.error(f"there is no package {unknown.pop()}; choose from {', '.join(PACKAGES)}")
    if arguments.python and (arguments.all or "tests" in arguments.packages):
        parser.error("--python cannot be combined with --all or the package tests")
    return arguments


def extent(arguments: argparse.Namespace) -> str:
    if arguments.python:
        return f"the services under Python {arguments.python}"
    if not arguments.all:
        return "everything but what --all adds"
    if lacks_image_python(arguments):
        return f"everything but Python {other_python.IMAGE_PYTHON}, which is not installed"
    return "everything"


def lacks_image_python(arguments: argparse.Namespace) -> bool:
    return bool(other_python_packages(arguments)) and other_python.find(other_python.IMAGE_PYTHON) is None


def other_python_packages(arguments: argparse.Namespace) -> list[str]:
    """Return the packages to test under the images' Python in addition to this one."""
    is_this_one = sys.version.startswith(f"{other_python.IMAGE_PYTHON}.")
    if not arguments.all or is_this_one or arguments.k:
        return []
    return [package for package in arguments.packages or PACKAGES if package in WITH_DATABASE]


def lint_and_types(arguments: argparse.Namespace) -> Counts:
    if arguments.packages or arguments.k or arguments.python:
        return Counts()
    passed = check.run_all()
    return Counts(passed.count(True), passed.count(False))


def tests(folder: Path, arguments: argparse.Namespace) -> Counts:
    total = Counts()
    with throwaway_postgres(folder) as urls:
        if arguments.python:
            chosen = arguments.packages or WITH_DATABASE
            return under_another_python(arguments.python, chosen, folder, urls, options=selection(arguments))
        for package in arguments.packages or PACKAGES:
            total += pytest(package, folder, urls, selection(arguments))
        if lacks_image_python(arguments):
            say(f"\nPython {other_python.IMAGE_PYTHON} is not installed, so nothing was tested under it.")
        elif packages := other_python_packages(arguments):
            total += under_another_python(other_python.IMAGE_PYTHON, packages, folder, urls, options=FIRST_PARAMETERS)
    if not (arguments.packages or arguments.k):
        total += access_control_coverage(folder)
    return total


def selection(arguments: argparse.Namespace) -> list[str]:
    return [*([] if arguments.all else NOT_SLOW), *(["-k", arguments.k] if arguments.k else [])]


def under_another_python(
    wanted: str, packages: Iterable[str], folder: Path, urls: dict[str, str], options: list[str]
) -> Counts:
    python = other_python.environment(wanted)
    total = Counts()
    for package in packages:
        total += pytest(package, folder, urls, options, python=python)
    return total


def access_control_coverage(folder: Path) -> Counts:
    """Combine the coverage data of all pytest workers and check it."""
    subprocess.run([sys.executable, "-m", *coverage("combine", folder)], check=False, cwd=ROOT)
    covered = check.StaticCheck("coverage of access control", coverage("report", folder)).passes()
    return Counts(int(covered), int(not covered))


def coverage(command: str, folder: Path) -> list[str]:
    """Return coverage arguments for the access control modules."""
    include = f"--include={','.join(str(ROOT / name) for name in ACCESS_CONTROL_MODULES)}"
    options = {
        "run": [include, "--concurrency=thread"],
        "combine": ["--quiet"],
        "report": [include, "--fail-under=100", "--show-missing"],
    }[command]
    return ["coverage", command, f"--rcfile={ROOT / 'pyproject.toml'}", f"--data-file={folder / 'coverage'}", *options]


def pytest(
    package: str, folder: Path, urls: dict[str, str], options: list[str], *, python: Path | None = None
) -> Counts:
    """Run a package's tests; under another `python`, without coverage. A skipped test counts as failed."""
    is_part = "-k" in options
    database = check.SETTINGS | {"DATABASE_URL": urls[package]} if package in urls else {}
    say(f"\n{package}{f', {python.parent.parent.name}' if python else ''}")
    report = folder / f"{package}.xml"
    report.unlink(missing_ok=True)
    measured = [*coverage("run", folder), "-m"] if package in MEASURED and not (is_part or python) else []
    command = [str(python or sys.executable), "-m", *measured, "pytest", "-q", f"--junitxml={report}"]
    status = subprocess.run([*command, *options], check=False, cwd=ROOT / package, env=os.environ | database).returncode
    if status == 5 and is_part:  # pytest: no tests collected
        return Counts()
    if not report.is_file():
        return Counts(failed=1)
    counts = {name: int(value) for name, value in ElementTree.parse(report).getroot()[0].items() if value.isdigit()}
    failed = counts["failures"] + counts["errors"] + counts["skipped"]
    return Counts(counts["tests"] - failed, failed or int(status != 0))


@contextmanager
def throwaway_postgres(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster in `folder` and yield the database URL of each package that needs one."""
    folder.chmod(0o711)
    state = StateFolder(folder)
    password = "only-for-this-run"
    (port,) = free_ports(1)
    postgres.ensure_cluster(state, password)
    program = postgres.program(state, port=port, **POSTGRES_OPTIONS)
    with (folder / "postgres.log").open("w") as log:
        process = subprocess.Popen(program.argv, stdout=log, stderr=log, **postgres.as_nobody())
    try:
        with step("Starting PostgreSQL"):
            owner = postgres.owner_url(password, port=port)
            postgres.wait_until_up(owner)
            with connected(owner) as cursor:
                for role in WITH_DATABASE:
                    cursor.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{password}'")
        yield {
            role: f"{postgres.url(role=role, password=password, port=port, database=role)}?options={quote(TEST_LIMITS)}"
            for role in WITH_DATABASE
        }
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
