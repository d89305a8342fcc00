"""The README and the API tour: promises, settings, Docker. test_fresh_checkout runs their examples."""

import os
import re
import sys
from collections import defaultdict

import pytest
import yaml

from stack import check
from tests.examples import PAGES
from tests.local_stack import ROOT, output_of
from tests.test_repository import files

TEXT = "".join((ROOT / page).read_text() for page in PAGES)
TEST = re.compile(r"`((?:\w+/)+test_\w+\.py(?:::\w+)*)`")
PROOF = re.compile("`(tests|scripts|user_service|task_service)/")
ROW = re.compile(r"^\| (?!-|promise|rule)(.+?) \|$", re.MULTILINE)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def named_tests():
    """Return the tests that the documentation names, by the folder in which pytest finds them."""
    found = defaultdict(set)
    for page in files(".md"):
        for name in TEST.findall(page.read_text()):
            folder = name.partition("/")[0]
            found[folder].add(name.removeprefix(f"{folder}/"))
    return found


@pytest.mark.parametrize("folder", sorted(named_tests()))
def test_every_test_that_the_documentation_names_exists(folder):
    named = named_tests()[folder]
    modules = sorted({name.partition("::")[0] for name in named})
    command = [sys.executable, "-m", "pytest", "-n0", "--collect-only", "-q", *modules]

    listed = output_of(command, cwd=ROOT / folder, env=os.environ | check.SETTINGS)

    assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr
    tests = {line.partition("[")[0].removeprefix("tests/") for line in listed.stdout.splitlines()}
    assert [name for name in sorted(named) if "::" in name and name.removeprefix("tests/") not in tests] == []


@pytest.mark.parametrize(("page", "title"), [("README.md", "Promises"), ("docs/api-tour.md", "Rules")])
def test_every_promise_and_rule_names_its_test(page, title):
    text = (ROOT / page).read_text()
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    rows = [row.split(" | ") for row in ROW.findall(section)]

    assert len(rows) > 10
    assert [promise for promise, shown_by in rows if not PROOF.search(shown_by)] == []


def test_the_configuration_page_is_what_scripts_docs_writes():
    done = output_of([ROOT / "scripts" / "docs", "--check"])

    assert (done.returncode, done.stderr) == (0, "")


DOCKER = re.findall(r"^```sh docker\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_docker_blocks_name_existing_services_and_secrets():
    for service in re.findall(r"docker compose (?:run --rm --no-deps -T|exec -T|restart|logs) (\w+)", "".join(DOCKER)):
        assert service in COMPOSE["services"]
    service, path = re.search(r"docker compose run --rm --no-deps -T (\w+) cat (\S+)\)", DOCKER[0]).groups()

    assert COMPOSE["services"][service]["environment"][f"{path.rpartition('/')[2]}_FILE"] == path
