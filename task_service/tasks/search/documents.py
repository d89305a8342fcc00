"""The search document of a task: a tsvector built here, not by PostgreSQL's parser.

Words of the title get the prefix T, words of the description D: the index then finds words in titles without reading
descriptions, and PostgreSQL's statistics know the frequency of a word in titles.
"""

from collections import defaultdict
from collections.abc import Iterator

from tasks.search.words import words

TITLE, DESCRIPTION = "T", "D"  # no folded word has a capital letter
# Marks a vector without all positions: PostgreSQL keeps 256 per word, and none beyond 16,383.
INCOMPLETE = "I"
MAX_POSITIONS_PER_WORD, MAX_POSITION = 255, 16_383


def document(title: str, description: str) -> str:
    """Return the tsvector of a task in PostgreSQL's text format."""
    return " ".join((*lexemes(TITLE, title), *lexemes(DESCRIPTION, description)))


def lexemes(field: str, text: str) -> Iterator[str]:
    positions: dict[str, list[int]] = defaultdict(list)
    for position, word in enumerate(words(text), 1):
        positions[word.text].append(position)
    complete = True
    for word_text, all_positions in positions.items():
        kept = [position for position in all_positions[:MAX_POSITIONS_PER_WORD] if position <= MAX_POSITION]
        complete &= len(kept) == len(all_positions)
        yield f"'{field}{word_text}':{','.join(map(str, kept))}" if kept else f"'{field}{word_text}'"
    if not complete:
        yield f"'{INCOMPLETE}'"
