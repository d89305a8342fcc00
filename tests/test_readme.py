"""What the README says beside its samples, which test_fresh_checkout pastes: claims, settings, containers."""

import os
import re
import subprocess
import sys
from collections import defaultdict

import pytest
import yaml

from stack import check, demo
from tests.local_stack import ROOT
from tests.readme import README
from tests.test_repository import files

TEST = re.compile(r"`((?:\w+/)+test_\w+\.py(?:::\w+)*)`")
ROW = re.compile(r"^\| (?!-|claim|rule|name)(.+?) \|$", re.MULTILINE)
SAMPLE_SETTINGS = (ROOT / ".env.example").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)[1]


def rows(text):
    return [[cell.strip() for cell in row.split(" | ")] for row in ROW.findall(text)]


def named_tests():
    """Return the tests that the documentation names, by the folder in which pytest has to look for them."""
    found = defaultdict(set)
    for page in files(".md"):
        for name in TEST.findall(page.read_text()):
            folder = name.partition("/")[0]
            found[folder].add(name.removeprefix(f"{folder}/"))
    return found


@pytest.mark.parametrize("folder", sorted(named_tests()))
def test_every_test_that_the_documentation_names_is_one(folder):
    named = named_tests()[folder]
    modules = sorted({name.partition("::")[0] for name in named})
    command = [sys.executable, "-m", "pytest", "-n0", "--collect-only", "-q", *modules]
    environment = os.environ | check.SETTINGS | {"RACE_ROUNDS": "1"}

    listed = subprocess.run(command, cwd=ROOT / folder, env=environment, capture_output=True, text=True)

    assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr
    tests = {line.partition("[")[0].removeprefix("tests/") for line in listed.stdout.splitlines()}
    assert [name for name in sorted(named) if "::" in name and name.removeprefix("tests/") not in tests] == []


def test_every_claim_and_rule_names_what_shows_it():
    claims = rows(section("Claims"))

    assert len(claims) > 10
    assert [
        claim for claim, shown_by in claims if not re.search("`(tests|scripts|user_service|task_service)/", shown_by)
    ] == []
    assert [rule for rule, shown_by in rows(section("Rules")) if not TEST.search(shown_by)] == []


def test_the_table_of_settings_is_that_of_the_sample_file():
    parts = re.split(r"^\*\*(.+)\*\*$", section("Configuration"), flags=re.MULTILINE)[1:]
    sample_parts = re.split(r"^# --- (.+?)(?:, which .*)?$", SAMPLE_SETTINGS, flags=re.MULTILINE)[1:]

    told = {title: settings_in_table(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}
    sampled = {
        title: re.findall(r"^#([A-Z_]+)=(.*)$", text, re.MULTILINE)
        for title, text in zip(sample_parts[::2], sample_parts[1::2], strict=True)
    }
    assert told == sampled


def settings_in_table(text):
    return [(name.strip("`"), default.strip("`")) for name, default, _ in settings_rows(text)]


def settings_rows(text):
    return re.findall(r"^\| (`[A-Z_]+`) \| ?(`[^`]+`)? ?\| (.+\.) \|$", text, re.MULTILINE)


DOCKER = re.findall(r"^```sh docker\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
# Docker has no such file, and the text says what it has.
LOG_LINE = "until grep -s overdue var/log/notifications.log | head -n 1 | grep .; do sleep 1; done\n"


def test_what_only_scripts_run_has_is_followed_by_lines_for_docker():
    """Whoever uses Docker pastes these in its place, and every other block as it is."""
    fences = re.findall(r"^```(sh|sh docker)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    local = [at for at, (kind, lines) in enumerate(fences) if kind == "sh" and re.search("var/|scripts/", lines)]

    followed = [at for at in local if fences[at + 1][0] == "sh docker"]
    assert len(followed) == len(DOCKER)
    assert [fences[at][1] for at in local if at not in followed] == [LOG_LINE]


def test_the_lines_for_docker_name_what_there_is():
    for service in re.findall(r"docker compose (?:run --rm --no-deps -T|exec -T|restart|logs) (\w+)", "".join(DOCKER)):
        assert service in COMPOSE["services"]
    lines = DOCKER[0]
    service, path = re.search(r"docker compose run --rm --no-deps -T (\w+) cat (\S+)\)", lines).groups()

    assert COMPOSE["services"][service]["environment"][f"{path.rpartition('/')[2]}_FILE"] == path


def test_numbers_in_the_text_are_those_of_today():
    servers = [name for name, service in COMPOSE["services"].items() if service["restart"] != "no"]

    assert f"{len(servers)} containers" in README
    assert (len(demo.PEOPLE), len(demo.TASKS)) == (4, 12)
    assert "`--demo` adds four people and twelve tasks" in README
