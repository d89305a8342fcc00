"""scripts/test: everything that must hold, on real PostgreSQL and a really started stack."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from chassis.provision import connected
from stack import check, postgres
from stack.bootstrap import ROOT
from stack.console import Refused, say, step
from stack.ports import free_ports
from stack.state import State

PACKAGES = ("chassis", "user_service", "task_service", "tests")
WITH_DATABASE = ("chassis", "user_service", "task_service")
MEASURED = ("chassis", "user_service", "task_service")
ACCESS_RESTS_ON = (
    "chassis/authentication.py",
    "chassis/permissions.py",
    "chassis/tokens.py",
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
    # A crash may lose this cluster: nothing in it outlives the run.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "250",  # two tests of fifty callers may run at once
}


@dataclass(frozen=True, slots=True)
class Outcome:
    passed: int = 0
    failed: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.passed + other.passed, self.failed + other.failed)


def main() -> None:
    arguments = parse()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tmservice-test-") as folder:
        try:
            total = lint_and_types(arguments) + tests(Path(folder), arguments)
        except Refused as error:
            sys.exit(f"scripts/test: {error}")
    extent = "everything" if arguments.all else "everything but what --all adds"
    say(f"\nIn {time.monotonic() - began:.0f} s, {extent}, nothing skipped:")
    say(f"total: {total.passed} passed, {total.failed} failed")
    sys.exit(total.failed > 0 or total.passed == 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/test", description="Lint, types and tests. Needs nothing but Python; leaves nothing running."
    )
    parser.add_argument("--all", action="store_true", help="what CI runs: also what takes long")
    parser.add_argument("-k", metavar="WORDS", help="only tests whose names hold these, and no lint or types")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"only these of: {', '.join(PACKAGES)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.packages) - set(PACKAGES):
        parser.error(f"there is no package {unknown.pop()}; choose from {', '.join(PACKAGES)}")
    return arguments


def lint_and_types(arguments: argparse.Namespace) -> Outcome:
    if arguments.packages or arguments.k:
        return Outcome()
    passed = check.run_all()
    return Outcome(passed.count(True), passed.count(False))


def tests(folder: Path, arguments: argparse.Namespace) -> Outcome:
    total = Outcome()
    with throwaway_postgres(folder) as urls:
        for package in arguments.packages or PACKAGES:
            environment = environment_of(package, urls, thorough=arguments.all)
            total += pytest(package, folder, environment, only=arguments.k)
    if not (arguments.packages or arguments.k):
        total += coverage_of_access(folder)
    return total


def coverage_of_access(folder: Path) -> Outcome:
    """Bring together what each worker of pytest has measured, and judge it."""
    subprocess.run([sys.executable, "-m", *coverage("combine", folder)], check=False, cwd=ROOT)
    covered = check.Check("every line that decides who may is run", coverage("report", folder)).passes()
    return Outcome(int(covered), int(not covered))


def coverage(command: str, folder: Path) -> list[str]:
    """Return the arguments of coverage for the modules on which access rests."""
    include = f"--include={','.join(str(ROOT / name) for name in ACCESS_RESTS_ON)}"
    options = {
        "run": [include, "--concurrency=thread"],
        "combine": ["--quiet"],
        "report": [include, "--fail-under=100", "--show-missing"],
    }[command]
    return ["coverage", command, f"--rcfile={ROOT / 'pyproject.toml'}", f"--data-file={folder / 'coverage'}", *options]


def environment_of(package: str, urls: dict[str, str], *, thorough: bool) -> dict[str, str]:
    """Return what a package's tests run in. RACE_ROUNDS asks for all tests, and for each race so many times."""
    return {
        **os.environ,
        **(check.SETTINGS | {"DATABASE_URL": urls[package]} if package in WITH_DATABASE else {}),
        **({"RACE_ROUNDS": "1000"} if thorough else {}),
    }


def pytest(package: str, folder: Path, environment: dict[str, str], *, only: str | None) -> Outcome:
    """Run a package's tests; a test that was skipped counts as failed."""
    say(f"\n{package}")
    report = folder / f"{package}.xml"
    measured = [*coverage("run", folder), "-m"] if package in MEASURED and not only else []
    argv = [sys.executable, "-m", *measured, "pytest", "-q", f"--junitxml={report}", *(["-k", only] if only else [])]
    status = subprocess.run(argv, check=False, cwd=ROOT / package, env=environment).returncode
    if status == 5 and only:  # pytest: no test was chosen
        return Outcome()
    if not report.is_file():
        return Outcome(failed=1)
    counts = {name: int(value) for name, value in ElementTree.parse(report).getroot()[0].items() if value.isdigit()}
    failed = counts["failures"] + counts["errors"] + counts["skipped"]
    return Outcome(counts["tests"] - failed, failed or int(status != 0))


@contextmanager
def throwaway_postgres(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster in `folder` and give the database URL of each package that needs one."""
    folder.chmod(0o711)
    state = State(folder)
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
        yield {role: postgres.url(role=role, password=password, port=port, database=role) for role in WITH_DATABASE}
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
