"""Links, paths and decisions that the documentation names."""

import re

from tests.local_stack import ROOT
from tests.test_repository import files

# The page tells the reader to create it; test_new_channel does.
CREATED_BY_THE_READER = "task_service/notifications/channels/chat.py"


def test_every_decision_is_in_the_table_of_decisions():
    decisions = [path.name for path in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    table = (ROOT / "docs" / "architecture.md").read_text()

    assert re.findall(r"^\| \[(\d+)\]\(adr/(\S+)\) \| ", table, re.MULTILINE) == [
        (str(number), name) for number, name in enumerate(decisions, start=1)
    ]


def headings(page):
    """Return the anchors of a page as GitHub generates them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_in_the_documentation_has_a_target():
    for page in files(".md"):
        for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
            target = page.parent / link if link else page
            assert "://" in link or target.exists(), f"{page.relative_to(ROOT)}: {link}"
            assert "://" in link or not anchor or anchor in headings(target), (
                f"{page.relative_to(ROOT)}: {link}#{anchor}"
            )


def test_every_path_in_the_documentation_exists():
    tops = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "var")))
    named = re.compile(rf"`((?:{tops})/[\w./-]+)")

    for page in files(".md"):
        for path in named.findall(page.read_text()):
            exists = path == CREATED_BY_THE_READER or any((base / path).exists() for base in (ROOT, ROOT / "docs"))
            assert exists, f"{page.relative_to(ROOT)}: {path}"


def test_every_script_is_documented():
    text = "".join(page.read_text() for page in files(".md"))
    scripts = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file()]

    assert [name for name in sorted(scripts) if f"scripts/{name}" not in text] == []
