"""What is stored of a task's text: a tsvector, written out here, so that PostgreSQL's own parser never reads the text.

Words of the title begin with T, those of the description with D: an index over such words finds what is in a title
without looking at descriptions, and PostgreSQL's statistics know how often a word stands in titles.
"""

from collections import defaultdict
from collections.abc import Iterator

from tasks.search.words import words

TITLE, DESCRIPTION = "T", "D"  # no folded word has a capital letter
# Stands in a vector that does not hold all places: PostgreSQL keeps 256 for a word, and none beyond 16,383.
INCOMPLETE = "I"
MAX_PLACES, LAST_PLACE = 255, 16_383


def document(title: str, description: str) -> str:
    """Return the tsvector of a task, as PostgreSQL reads it."""
    return " ".join((*lexemes(TITLE, title), *lexemes(DESCRIPTION, description)))


def lexemes(field: str, text: str) -> Iterator[str]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(words(text), 1):
        places[word.text].append(place)
    complete = True
    for word_text, all_places in places.items():
        kept = [place for place in all_places[:MAX_PLACES] if place <= LAST_PLACE]
        complete &= len(kept) == len(all_places)
        yield f"'{field}{word_text}':{','.join(map(str, kept))}" if kept else f"'{field}{word_text}'"
    if not complete:
        yield f"'{INCOMPLETE}'"
