"""Search in titles and descriptions."""

import pytest

from tasks.models import MAX_DESCRIPTION_LENGTH

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"
RARE = [chr(0x20000 + number) for number in range(25_000)]  # characters of four bytes, each a separate word


def found(person, text, **more):
    answer = person.get(TASKS, {"search": text, "page_size": 100, **more})
    assert answer.status_code == 200, answer.content
    return [task["title"] for task in answer.json()["results"]]


@pytest.fixture
def tasks(create_task, alice, bob):
    create_task(title="Water the plants", description="The fern, too: it's thirsty.", assigned_to=alice.id, priority=4)
    create_task(title="Feed the cat", description="Fern is her NAME", assigned_to=bob.id, due_date="2096-01-01")
    create_task(title="Wässere die Pflanzen", description="Straße 7, Tür links", due_date="2096-01-02")
    create_task(title="植物に水をやる", description="毎日 二回")
    create_task(title="Call bob@tm.example", description="see https://tm.example/a/b or C:\\temp", status="completed")


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("plants", {"Water the plants"}),
        ("PLANTS", {"Water the plants"}),
        ("fern", {"Water the plants", "Feed the cat"}),
        ("name", {"Feed the cat"}),
        ("plant", {"Water the plants"}),
        ("lant", set()),
        ("plant fer", {"Water the plants"}),
        ("fern -plant", {"Water the plants", "Feed the cat"}),
        ('"the plant"', set()),
        ("fern water", {"Water the plants"}),
        ("water thirsty", {"Water the plants"}),
        ("fern dog", set()),
        ('"the plants"', {"Water the plants"}),
        ('"the water"', set()),
        ('"too it s thirsty"', {"Water the plants"}),
        ("plants or cat", {"Water the plants", "Feed the cat"}),
        ("plants OR nothing", {"Water the plants"}),
        ("fern -cat", {"Water the plants"}),
        ('fern -"the plants"', {"Feed the cat"}),
        ("the -fern", set()),
        ("-fern -the", {"Wässere die Pflanzen", "植物に水をやる", "Call bob@tm.example"}),
        ("“the plants”", {"Water the plants"}),
        ("or plants", set()),
        ("plants or", set()),
        ("--plants", {"Water the plants"}),
        ("wässere", {"Wässere die Pflanzen"}),
        ("Straße", {"Wässere die Pflanzen"}),
        ("strasse", {"Wässere die Pflanzen"}),
        ("wassere tur", {"Wässere die Pflanzen"}),
        ("植物に水をやる", {"植物に水をやる"}),
        ("水をやる", {"植物に水をやる"}),
        ("毎日二回", set()),
        ("二回 毎日", {"植物に水をやる"}),
        ("bob@tm.example", {"Call bob@tm.example"}),
        ("tm.example/a/b", {"Call bob@tm.example"}),
        ("it's", {"Water the plants"}),
        ("plants:* | cat", set()),
        ("(water) & !plants", {"Water the plants"}),
        ("wat%", {"Water the plants"}),
    ],
)
def test_it_works(ada, tasks, text, titles):
    assert set(found(ada, text)) == titles


@pytest.mark.parametrize(
    "text", [" ", "\t", "\u3000", ".", "!", "?!…", '"', '""', "-", "()", "&|", ":*", "<->", "'", "\\"]
)
def test_a_search_without_words_finds_nothing(ada, tasks, text):
    assert found(ada, text) == []


def test_an_empty_search_is_ignored(ada, tasks):
    assert len(found(ada, "")) == 5


@pytest.mark.parametrize(
    "text",
    [
        *("plants & cat", "plants |", "| plants", "! plants", "(plants", "plants)", "plants:*", "plants:A", "a <-> b"),
        *("plants <2> cat", "'plants", "''''", "\\plants\\", '"plants', 'plants"', '" or "', "or", "or or", "not"),
        *("$$plants$$", "%s %d {0} {{7*7}}", "'; DROP TABLE tasks_task; --", "\ufffd", "\u202eplants", "🌱", "\x1b[0m"),
        *("--plants", "- - plants", "-" * 200, "- " * 100, "-(" * 100, '-"' * 100, "-a " * 66),
        *("(" * 200, '"' * 200, "a or " * 40, "a-" * 100, "x" * 200, "🌱" * 200, "plants " * 28, "a&" * 100),
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_no_text_causes_an_error(ada, tasks, text):
    assert len(found(ada, text)) <= 5


def test_a_text_over_200_characters_is_400(ada):
    answer = ada.get(TASKS, {"search": "x" * 201})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("search", "max_length")]


@pytest.mark.parametrize("text", ["\0", "plants\0", "\0plants"], ids=ascii)
def test_a_nul_character_is_400(ada, text):
    answer = ada.get(TASKS, {"search": text})

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["search"]


def test_a_repeated_search_is_400(ada):
    answer = ada.get(f"{TASKS}?search=plants&search=cat")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "repeated_parameter")


def test_users_find_only_visible_tasks(alice, bob, tasks):
    assert found(alice, "fern") == ["Water the plants"]
    assert found(bob, "fern") == ["Feed the cat"]
    assert found(bob, "plants or -plants") == ["Feed the cat"]
    assert found(bob, "plants", assigned_to=alice.id) == []


def test_search_combines_with_filters_and_ordering(ada, alice, tasks):
    assert found(ada, "fern", priority="urgent") == ["Water the plants"]
    assert found(ada, "fern", assigned_to=alice.id, status="completed") == []
    assert found(ada, "fern or die", ordering="due_date") == [
        "Feed the cat",
        "Wässere die Pflanzen",
        "Water the plants",
    ]
    assert found(ada, "fern or die", ordering="-due_date") == [
        "Wässere die Pflanzen",
        "Feed the cat",
        "Water the plants",
    ]


def test_search_applies_to_every_page(ada, create_task):
    for number in range(5):
        create_task(title=f"Plant {number}")
        create_task(title=f"Tree {number}")

    first = ada.get(TASKS, {"search": "plant -3", "ordering": "id", "page_size": 2}).json()
    second = ada.get(first["next"]).json()

    titles = [task["title"] for page in (first, second) for task in page["results"]]
    assert titles == ["Plant 0", "Plant 1", "Plant 2", "Plant 4"]
    assert second["next"] is None
    assert ada.get(second["previous"]).json()["results"] == first["results"]


def test_new_text_is_found_and_replaced_text_is_not(ada):
    task = ada.post(TASKS, {"title": "Plant a tree"}).json()

    ada.patch(f"{TASKS}{task['id']}/", {"title": "Fell a tree"})

    assert (found(ada, "fell"), found(ada, "plant")) == (["Fell a tree"], [])


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
