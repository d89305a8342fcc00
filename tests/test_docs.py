"""The pictures and tables of docs/, held against what they tell of."""

import json
import os
import re
import subprocess
import sys

import pytest

from stack import check
from tests.local_stack import ROOT
from tests.test_repository import files

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"(alt|opt|loop|par|critical|break|rect)\b")
# A page says how to make it; test_new_channel does.
TO_BE_MADE = "task_service/notifications/channels/chat.py"
# Prints the tables of the service in whose folder it runs, Django's own left out: {table: [[type, column, key]]}.
TABLES = """
import json, re, django
django.setup()
from django.apps import apps
from django.db import connection

def kind(field):
    plain = re.sub(r"\\(.*\\)", "", field.db_type(connection))
    return "timestamptz" if plain.startswith("timestamp") else plain

print(json.dumps({
    model._meta.db_table: [
        [kind(field), field.column, "PK" if field.primary_key else "FK" if field.is_relation else ""]
        for field in model._meta.local_concrete_fields
    ]
    for model in apps.get_models()
    if not model.__module__.startswith("django.")
}))
"""


def tables_of(service):
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", TABLES]
    done = subprocess.run(
        command, cwd=ROOT / service, env=os.environ | check.SETTINGS | settings, check=True, capture_output=True
    )
    return json.loads(done.stdout)


def drawn_tables(service):
    picture = MERMAID.search(ARCHITECTURE, ARCHITECTURE.index(f"### Schema {service}"))[1]
    return {
        table: [list(column) for column in re.findall(r"^ +(\w+) (\w+) ?(PK|FK)?$", columns, re.MULTILINE)]
        for table, columns in re.findall(r"^ +(\w+) \{\n(.*?)^ +\}$", picture, re.MULTILINE | re.DOTALL)
    }


@pytest.mark.parametrize("service", ["user_service", "task_service"])
def test_the_data_model_has_every_table_and_column_and_no_other(service):
    drawn, real = drawn_tables(service), tables_of(service)

    assert sorted(drawn) == sorted(real)
    assert {table: columns for table, columns in drawn.items() if columns != real[table]} == {}


@pytest.mark.parametrize("service", ["user_service", "task_service"])
def test_each_foreign_key_is_a_line_between_its_tables(service):
    picture = MERMAID.search(ARCHITECTURE, ARCHITECTURE.index(f"### Schema {service}"))[1]
    ends = {
        table
        for line in re.findall(r"^ +(\w+) [|o}]{2}(?:--|\.\.)[|o{]{2} (\w+) : ", picture, re.MULTILINE)
        for table in line
    }

    keyed = {table for table, columns in drawn_tables(service).items() if any(key == "FK" for *_, key in columns)}

    assert keyed <= ends <= set(drawn_tables(service))


@pytest.mark.parametrize("page", [page for page in files(".md") if MERMAID.search(page.read_text())], ids=str)
def test_what_happens_in_a_picture_is_between_those_who_are_in_it(page):
    """What Mermaid itself refuses most often: unknown ends of a block, a semicolon (it ends a line), unknown names."""
    for picture in MERMAID.findall(page.read_text()):
        lines = [line.strip() for line in picture.splitlines()]
        assert re.match("sequenceDiagram$|erDiagram$|flowchart (LR|TB)$", lines[0])
        if lines[0] != "sequenceDiagram":
            continue
        people = {line.split()[1] for line in lines if line.startswith(("actor ", "participant "))}
        said = [re.match(r"(\w+)-?->>(\w+): |Note over ([\w,]+): ", line) for line in lines]
        named = {name for match in said if match for group in match.groups() if group for name in group.split(",")}
        assert named == people
        assert [line for line in lines if ";" in line] == []
        assert sum(BLOCK.match(line) is not None for line in lines) == lines.count("end")


def test_every_decision_stands_in_the_table_of_reasons_with_its_number():
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))

    told = re.findall(r"^\| \[(\d+)\]\(adr/(\S+)\) \| \S.+\. \|$", ARCHITECTURE, re.MULTILINE)

    assert told == [(str(number), path.name) for number, path in enumerate(decisions, start=1)]


def test_every_module_of_the_chassis_stands_in_the_table_of_modules_once():
    table = ARCHITECTURE[
        ARCHITECTURE.index("| module of the chassis |") : ARCHITECTURE.index("## The way of a request")
    ]
    told = [name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]

    chassis = ROOT / "chassis"
    modules = {
        path.relative_to(chassis).parts[0].removesuffix(".py") for path in files(".py") if chassis in path.parents
    }
    assert sorted(told) == sorted(modules - {"__init__", "tests", "migrations"})


def headings(page):
    """Return the anchors of a page as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_in_the_documentation_leads_somewhere():
    for page in files(".md"):
        for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
            target = page.parent / link if link else page
            assert "://" in link or target.exists(), f"{page.relative_to(ROOT)}: {link}"
            assert "://" in link or not anchor or anchor in headings(target), (
                f"{page.relative_to(ROOT)}: {link}#{anchor}"
            )


def test_every_path_that_the_documentation_names_is_there():
    tops = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "var")))
    named = re.compile(rf"`((?:{tops})/[\w./-]+)")
    bases = (ROOT, ROOT / "docs")

    for page in files(".md"):
        for path in named.findall(page.read_text()):
            is_there = path == TO_BE_MADE or any((base / path).exists() for base in bases)
            assert is_there, f"{page.relative_to(ROOT)}: {path}"


def test_every_script_says_what_it_is_in_the_readme_or_the_pages_it_leads_to():
    text = "".join(page.read_text() for page in files(".md"))
    scripts = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file()]

    assert [name for name in sorted(scripts) if f"scripts/{name}" not in text] == []
