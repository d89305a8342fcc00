"""What is typed into a search, as queries for PostgreSQL.

All words are wanted, and found by their beginning, but for single letters beside other words. `or` is either;
`"a phrase"` is these whole words in a row; `-` in front excludes a whole word or a phrase. What holds several words
without a space, such as INV-2026-0815, is a phrase whose last word is found by its beginning. A number that begins a
search may have a sign: -5 is 5.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from tasks.search.documents import DESCRIPTION, INCOMPLETE, TITLE
from tasks.search.words import words

MAX_WORDS = 100  # of one phrase, as many as can be typed; what one character stands for may be more
PIECE = re.compile(r'(?P<minus>-?)["“”„](?P<phrase>[^"“”„]*)["“”„]?|(?P<bare>\S+)')
OR = "or"
NOTHING = f"'{INCOMPLETE}' & !'{INCOMPLETE}'"


@dataclass(frozen=True, slots=True)
class Term:
    """One or several words in a row."""

    words: tuple[str, ...]
    by_beginning: bool
    is_excluded: bool = False
    is_character: bool = False  # ends in a single one of a script without spaces, which begins the pairs to be found

    def within(self, field: str) -> str:
        return f"({' <-> '.join(self.lexemes(field))})"

    def anywhere(self) -> str:
        return any_of([self.within(TITLE), self.outside_title()])

    def outside_title(self) -> str:
        """Where the description's places are incomplete, it is enough that all words are there."""
        if len(self.words) == 1:
            return self.within(DESCRIPTION)
        return any_of([self.within(DESCRIPTION), all_of([f"'{INCOMPLETE}'", *self.lexemes(DESCRIPTION)])])

    def lexemes(self, field: str) -> list[str]:
        found = [f"'{field}{word}'" for word in self.words]
        if self.by_beginning or self.is_character:
            found[-1] += ":*"
        return found


@dataclass(frozen=True, slots=True)
class Query:
    """Alternatives, each of terms that are wanted or excluded together. The properties are PostgreSQL's tsquery."""

    alternatives: tuple[tuple[Term, ...], ...]

    @property
    def anywhere(self) -> str:
        return self.with_terms(Term.anywhere) if self.alternatives else NOTHING

    @property
    def ranks(self) -> list[str]:
        """Return queries that have no task in common, and between them all that is found, best first.

        Words as they were typed in the title; their beginnings in the title; anything else.
        """
        if not self.alternatives:
            return [NOTHING]
        whole = self.with_terms(lambda term: replace(term, by_beginning=False).within(TITLE))
        title = self.with_terms(lambda term: term.within(TITLE))
        ranks = [whole] if whole == title else [whole, f"{title} & !{whole}"]
        if any(wanted(terms) for terms in self.alternatives):
            ranks.append(f"{self.rest} & !{title}")
        return ranks

    @property
    def rest(self) -> str:
        """What is anywhere, one word of it at least outside of the title.

        That goes without saying for what is not in the title, but tells PostgreSQL how few these may be.
        """
        if all(len(wanted(terms)) == 1 for terms in self.alternatives):
            return self.with_terms(Term.outside_title)
        outside = any_of(term.outside_title() for terms in self.alternatives for term in wanted(terms))
        return f"{self.anywhere} & {outside}"

    def with_terms(self, to_find: Callable[[Term], str]) -> str:
        return any_of(
            all_of(f"!{term.anywhere()}" if term.is_excluded else to_find(term) for term in terms)
            for terms in self.alternatives
        )


def parse(text: str) -> Query:
    pieces = list(PIECE.finditer(text))
    alternatives: list[list[Term]] = [[]]
    for number, piece in enumerate(pieces):
        if piece[0].casefold() == OR and 0 < number < len(pieces) - 1:
            alternatives.append([])
        elif term := term_of(piece, is_first=number == 0, is_alone=len(pieces) == 1):
            alternatives[-1].append(term)
    return Query(tuple(tuple(terms) for terms in alternatives if terms))


def term_of(piece: re.Match[str], *, is_first: bool, is_alone: bool) -> Term | None:
    """Return None where there is no word."""
    bare = piece["bare"]
    found = list(islice(words(bare or piece["phrase"]), MAX_WORDS))
    if not found:
        return None
    ending = found[-1]
    if ending.ends_run_of > 1:  # the pairs before say it all, also of a run that is longer in a task
        found.pop()
    is_excluded = bool(piece["minus"]) or excludes(bare or "", is_first=is_first)
    # What one letter begins is half of all texts, and costs too much where it has to be compared with other words.
    may_go_on = is_alone or len(ending.text) > 1
    return Term(
        tuple(word.text for word in found),
        is_excluded=is_excluded,
        by_beginning=bool(bare) and may_go_on and not is_excluded and not ending.ends_run_of,
        is_character=ending.ends_run_of == 1,
    )


def excludes(bare: str, *, is_first: bool) -> bool:
    """Tell a minus that excludes a word from a dash, a long option and the sign of a number."""
    return bare[:1] == "-" and bare[1:2].isalnum() and not (is_first and bare[1].isdigit())


def wanted(terms: Iterable[Term]) -> list[Term]:
    return [term for term in terms if not term.is_excluded]


def all_of(queries: Iterable[str]) -> str:
    return f"({' & '.join(queries)})"


def any_of(queries: Iterable[str]) -> str:
    return f"({' | '.join(queries)})"
