"""The order of search results, and that pages return each once."""

from datetime import timedelta
from itertools import product

import pytest
from django.utils import timezone

from tasks import search_page
from tasks.models import Task
from tasks.search import parse
from tests.conftest import TASKS, invalid_fields

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def pages(person, **query):
    """Return the titles page by page, and check that going back returns the same."""
    page = person.get(TASKS, query).json()
    there = [page]
    while page["next"]:
        page = person.get(page["next"]).json()
        there.append(page)
    back = [page]
    while page["previous"]:
        page = person.get(page["previous"]).json()
        back.insert(0, page)
    assert [each["results"] for each in back] == [each["results"] for each in there]
    return [[task["title"] for task in each["results"]] for each in there]


@pytest.fixture
def plans(create_task, alice):
    """Three tasks of each rank, created at the same time except for the middle one, which is newer."""
    texts = [
        *((f"Plan {n}", "") for n in range(3)),
        *((f"Plant {n}", "plan") for n in range(3)),
        *((f"Talk {n}", "about the plan") for n in range(3)),
        ("Talk", "of nothing"),
    ]
    for title, description in texts:
        newer = timedelta(seconds=title.endswith("1"))
        create_task(title=title, description=description, created_at=NOW + newer, assigned_to=alice.id)


RANKED = ["Plan 1", "Plan 2", "Plan 0", "Plant 1", "Plant 2", "Plant 0", "Talk 1", "Talk 2", "Talk 0"]


@pytest.mark.parametrize(("size", "ordering"), [(1, {}), (2, {}), (3, {}), (4, {"ordering": "relevance"}), (9, {})])
def test_pages_go_through_the_ranks_in_order(ada, plans, size, ordering):
    found = pages(ada, search="plan", page_size=size, **ordering)

    assert [title for page in found for title in page] == RANKED
    assert {len(page) for page in found[:-1]} <= {size}


@pytest.mark.parametrize("text", ["pay", "pay rent", "pay or rent", '"pay rent" plan', "\u6771\u4eac"])
def test_the_word_index_is_not_asked_for_better_ranks(text):
    """To exclude a prefix, it would read all tasks with that prefix."""
    assert not any("!" in rank.query for rank in parse(text).ranks)


@pytest.mark.parametrize(
    ("text", "repeated"), [("rent", [2, 2, 2]), ("re", [2, 2, 2]), ("r", [2, 1, 1]), ("pay r", [1])]
)
def test_a_lone_word_that_may_be_rare_is_repeated_among_all_tasks(text, repeated):
    """PostgreSQL would look through all tasks for a word that has no statistics."""
    among_all, of_one_person = (parse(text, among_all=among_all).ranks for among_all in (True, False))

    assert [rank.query.count(f"{text.split()[-1]}'") for rank in among_all][: len(repeated)] == repeated
    assert {rank.query.count(f"{text.split()[-1]}'") for rank in of_one_person[:2]} == {1}


def test_all_words_in_the_title_rank_before_some(ada, create_task):
    for title, description in [("Budget", "review"), ("Budget review", ""), ("Other", "budget review")]:
        create_task(title=title, description=description, created_at=NOW)

    assert pages(ada, search="budget review") == [["Budget review", "Other", "Budget"]]
    assert pages(ada, search="budget or review") == [["Budget review", "Budget", "Other"]]


def test_an_explicit_ordering_replaces_the_ranks(ada, plans):
    by_id = sorted(RANKED, key=lambda title: (["Plan", "Plant", "Talk"].index(title.split()[0]), title))

    assert [title for page in pages(ada, search="plan", ordering="id", page_size=2) for title in page] == by_id


def test_relevance_without_a_search_is_the_default(ada, plans):
    assert pages(ada, ordering="relevance", page_size=4) == pages(ada, page_size=4)


def test_relevance_has_no_direction(ada):
    assert invalid_fields(ada.get(TASKS, {"search": "plan", "ordering": "-relevance"})) == ["ordering"]


def test_filters_apply_to_every_rank(ada, bob, plans, create_task):
    create_task(title="Plan of bob", assigned_to=bob.id, priority=4)
    create_task(title="Planning of bob", assigned_to=bob.id)
    create_task(title="Talk", description="plan", assigned_to=bob.id, priority=4)

    assert pages(ada, search="plan", assigned_to=bob.id, priority="urgent") == [["Plan of bob", "Talk"]]
    assert pages(bob, search="plan", page_size=1) == [["Plan of bob"], ["Planning of bob"], ["Talk"]]


def test_changes_between_pages_neither_repeat_nor_hide_tasks(ada, plans, create_task):
    first = ada.get(TASKS, {"search": "plan", "page_size": 4}).json()
    create_task(title="Plan of today", created_at=NOW + timedelta(days=1))
    ada.patch(f"{TASKS}{first['results'][3]['id']}/", {"title": "Gone", "description": ""})

    rest = ada.get(first["next"]).json()

    assert [task["title"] for task in rest["results"]] == RANKED[4:8]


def test_a_cursor_of_another_search_keeps_its_position(ada, plans):
    after_titles = ada.get(TASKS, {"search": "plan", "page_size": 7}).json()["next"]

    assert ada.get(after_titles.replace("search=plan", "search=-nothing")).json()["results"] == []
    assert ada.get(after_titles, {"search": "plan"}).status_code == 200


def test_the_export_has_the_order_of_the_list(ada, plans):
    lines = ada.get(f"{TASKS}export.csv?search=plan").getvalue().decode().splitlines()

    assert [line.split(",")[1] for line in lines[1:]] == RANKED


ALL_PRIORITIES = "low,normal,high,urgent"  # a filter that keeps all tasks, but is not a plain search
TEXTS = [
    "plan",
    "pl",
    "p",
    "plant or talk",
    '"the plan"',
    "plan -about",
    "-plan",
    "absent",
    "1",
    "talk plan",
    "%",
    "none",
]


@pytest.mark.parametrize(("newest", "short"), [(1, 10**6), (4, 10**6), (8, 10**6), (12, 0), (12, 10**6)])
@pytest.mark.parametrize("text", TEXTS)
def test_a_plain_search_finds_the_same_as_one_with_filters(ada, alice, bob, plans, monkeypatch, text, newest, short):
    """The first page of a plain search has a statement of its own, which looks at the newest tasks of a user first."""
    monkeypatch.setattr(search_page, "NEWEST", newest)
    monkeypatch.setattr(search_page, "SHORT", short)
    search_page.search_page.cache_clear()
    Task.objects.filter(title__endswith="2").update(search_document=None, search_rules=None)  # not indexed yet

    for person, size in product((ada, alice, bob), (1, 4, 20)):
        plain, filtered = (
            person.get(TASKS, {"search": text, "page_size": size} | more).json()
            for more in ({}, {"priority": ALL_PRIORITIES})
        )
        assert plain["results"] == filtered["results"]
        assert bool(plain["next"]) == bool(filtered["next"])
    search_page.search_page.cache_clear()
