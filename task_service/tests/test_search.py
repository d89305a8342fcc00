"""Search in titles and descriptions."""

import json

import pytest
from django.db import connection

from tasks.models import MAX_DESCRIPTION_LENGTH, Task
from tasks.search import RULES, document
from tests.conftest import TASKS, invalid_fields, titles

pytestmark = pytest.mark.django_db

RARE = [chr(0x20000 + number) for number in range(25_000)]  # characters of four bytes, each a separate word


def found(person, text, **more):
    return titles(person.get(TASKS, {"search": text, "page_size": 100, **more}))


@pytest.fixture
def tasks(create_task, alice, bob):
    create_task(title="Water the plants", description="The fern, too: it's thirsty.", assigned_to=alice.id, priority=4)
    create_task(title="Feed the cat", description="Fern is her NAME", assigned_to=bob.id, due_date="2096-01-01")
    create_task(title="Wässere die Pflanzen", description="Straße 7, Tür links", due_date="2096-01-02")
    create_task(title="植物に水をやる", description="毎日 二回")
    create_task(title="Call bob@tm.example", description="see https://tm.example/a/b or C:\\temp", status="completed")


PLANTS, CAT, GERMAN, JAPANESE = "Water the plants", "Feed the cat", "Wässere die Pflanzen", "植物に水をやる"
CALL = "Call bob@tm.example"
FOUND = {
    (PLANTS,): [
        *("plants", "PLANTS", "plant", "plant fer", "fern water", "water thirsty", "plants OR nothing", "fern -cat"),
        *('"the plants"', '"too it s thirsty"', "“the plants”", "--plants", "it's", "(water) & !plants", "wat%"),
    ],
    (CAT,): ["name", 'fern -"the plants"'],
    (PLANTS, CAT): ["fern", "fern -plant", "plants or cat"],
    (GERMAN,): ["wässere", "Straße", "strasse", "wassere tur"],
    (JAPANESE,): ["植物に水をやる", "水をやる", "二回 毎日"],
    (CALL,): ["bob@tm.example", "tm.example/a/b"],
    (GERMAN, JAPANESE, CALL): ["-fern -the"],
    (): [
        *("lant", '"the plant"', "fern dog", '"the water"', "the -fern", "or plants", "plants or", "毎日二回"),
        "plants:* | cat",
    ],
}


@pytest.mark.parametrize(
    ("text", "expected"), [(text, expected) for expected, texts in FOUND.items() for text in texts]
)
def test_it_works(ada, tasks, text, expected):
    assert set(found(ada, text)) == set(expected)


def test_a_search_without_words_finds_nothing(ada, tasks):
    texts = [" ", "\t", "\u3000", ".", "!", "?!…", '"', '""', "-", "()", "&|", ":*", "<->", "'", "\\"]

    assert {text: found(ada, text) for text in texts} == {text: [] for text in texts}


def test_an_empty_search_is_ignored(ada, tasks):
    assert len(found(ada, "")) == 5


def test_no_text_causes_an_error(ada, tasks):
    for text in (
        *("plants & cat", "plants |", "| plants", "! plants", "(plants", "plants)", "plants:*", "plants:A", "a <-> b"),
        *("plants <2> cat", "'plants", "''''", "\\plants\\", '"plants', 'plants"', '" or "', "or", "or or", "not"),
        *("$$plants$$", "%s %d {0} {{7*7}}", "'; DROP TABLE tasks_task; --", "\ufffd", "\u202eplants", "🌱", "\x1b[0m"),
        *("--plants", "- - plants", "-" * 200, "- " * 100, "-(" * 100, '-"' * 100, "-a " * 66),
        *("(" * 200, '"' * 200, "a or " * 40, "a-" * 100, "x" * 200, "🌱" * 200, "plants " * 28, "a&" * 100),
    ):
        assert len(found(ada, text)) <= 5, ascii(text)


@pytest.mark.parametrize("text", ["x" * 201, "plants\0"], ids=["too long", "a NUL"])
def test_an_invalid_text_is_400(ada, text):
    assert invalid_fields(ada.get(TASKS, {"search": text})) == ["search"]


def test_users_find_only_visible_tasks(alice, bob, tasks):
    assert found(alice, "fern") == ["Water the plants"]
    assert found(bob, "fern") == ["Feed the cat"]
    assert found(bob, "plants or -plants") == ["Feed the cat"]
    assert found(bob, "plants", assigned_to=alice.id) == []


def test_search_combines_with_filters_and_ordering(ada, alice, tasks):
    assert found(ada, "fern", priority="urgent") == ["Water the plants"]
    assert found(ada, "fern", assigned_to=alice.id, status="completed") == []
    by_due_date = ["Feed the cat", "Wässere die Pflanzen", "Water the plants"]
    assert found(ada, "fern or die", ordering="due_date") == by_due_date


def test_search_applies_to_every_page(ada, create_task):
    for number in range(5):
        create_task(title=f"Plant {number}")
        create_task(title=f"Tree {number}")

    first = ada.get(TASKS, {"search": "plant -3", "ordering": "id", "page_size": 2}).json()
    second = ada.get(first["next"]).json()

    met = [task["title"] for page in (first, second) for task in page["results"]]
    assert met == ["Plant 0", "Plant 1", "Plant 2", "Plant 4"]
    assert second["next"] is None
    assert ada.get(second["previous"]).json()["results"] == first["results"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (" ".join(RARE), RARE[9_000]),
        ("-".join(RARE), RARE[9_000]),
        (" ".join(f"{one}-{other}" for one, other in zip(RARE[::2], RARE[1::2], strict=True)), "-".join(RARE[200:202])),
        (" ".join("-".join(RARE[at : at + 250]) for at in range(0, 25_000, 250)), RARE[600]),
        (" ".join(f"{number:x}.bb/{number:x}" for number in range(4_000)), "f9f.bb/f9f"),
        (" ".join(f"{number:x}@b.cc" for number in range(5_500)), "fff@b.cc"),
        (" ".join("-".join(f"{number:x}" for number in range(at, at + 9)) for at in range(0, 10_000, 9)), "fff"),
        (" ".join("\u023a" * 150 + one for one in RARE[:240]), "\u023a" * 150 + RARE[99]),
    ],
    ids=["words", "one compound", "pairs", "compounds", "addresses", "mail", "numbers", "longer in lower case"],
)
def test_the_longest_description_of_rare_words_is_found(ada, text, word):
    title = "𠀀" * 200
    assert len(text) > 35_000

    answer = ada.post(TASKS, {"title": title, "description": text[:MAX_DESCRIPTION_LENGTH]})

    assert answer.status_code == 201
    assert found(ada, word) == [title]


def test_few_tasks_are_expected_for_a_rare_word_even_if_there_are_few_words():
    """PostgreSQL would otherwise expect 10 of these tasks in each rank, and walk a million tasks to find a page."""
    text = {"title": "Water plants", "search_document": document("Water plants", ""), "search_rules": RULES}
    Task.objects.bulk_create(Task(**text, created_by=101) for _ in range(2000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tasks_task")

    for rank in Task.objects.matching("zyzzyva", among_all=True).ranks:
        plan = json.loads(rank.values("id").explain(format="json"))[0]["Plan"]
        assert plan["Plan Rows"] < 5
