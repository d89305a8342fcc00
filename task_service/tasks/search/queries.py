"""Parses search text into queries for PostgreSQL.

All words must match, each as a prefix, except single letters next to other words. `or` separates alternatives;
`"a phrase"` matches whole words in a row; a leading `-` excludes a whole word or a phrase. Several words without a
space, such as INV-2026-0815, are a phrase whose last word is a prefix. A number at the beginning of a search may have a
sign: -5 is 5.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from tasks.search.documents import DESCRIPTION, INCOMPLETE, TITLE
from tasks.search.words import words

MAX_WORDS = 100  # per phrase; some characters expand to several words
PIECE = re.compile(r'(?P<minus>-?)["“”„](?P<phrase>[^"“”„]*)["“”„]?|(?P<bare>\S+)')
MIN_RARE_PREFIX = 2  # characters; shorter ones are common, but those of numbers are in no statistics
OR = "or"
NOTHING = f"'{INCOMPLETE}' & !'{INCOMPLETE}'"


@dataclass(frozen=True, slots=True)
class Term:
    """One word, or several in a row."""

    words: tuple[str, ...]
    is_prefix: bool
    is_excluded: bool = False
    is_character: bool = False  # ends in a single character of a script without spaces, a prefix of the stored pairs

    @property
    def may_be_rare(self) -> bool:
        return len(self.words) == 1 and (not self.is_prefix or len(self.words[0]) >= MIN_RARE_PREFIX)

    def within(self, field: str) -> str:
        return f"({' <-> '.join(self.lexemes(field))})"

    def anywhere(self) -> str:
        return any_of([self.within(TITLE), self.outside_title()])

    def outside_title(self) -> str:
        """If the positions in the description are incomplete, it only has to contain all words."""
        if len(self.words) == 1:
            return self.within(DESCRIPTION)
        return any_of([self.within(DESCRIPTION), all_of([f"'{INCOMPLETE}'", *self.lexemes(DESCRIPTION)])])

    def lexemes(self, field: str) -> list[str]:
        found = [f"'{field}{word}'" for word in self.words]
        if self.is_prefix or self.is_character:
            found[-1] += ":*"
        return found


@dataclass(frozen=True, slots=True)
class Rank:
    """Results that match one tsquery and not another: those of the better ranks.

    The second is not part of the first, because PostgreSQL's index would then read all tasks with that prefix.
    """

    query: Any  # a tsquery, or an expression for one
    better: Any = None


@dataclass(frozen=True, slots=True)
class Query:
    """Alternatives, each with required and excluded terms. The properties are PostgreSQL's tsquery."""

    alternatives: tuple[tuple[Term, ...], ...]
    among_all: bool = True  # tasks, not only those of one person

    @property
    def anywhere(self) -> str:
        return self.with_terms(Term.anywhere) if self.alternatives else NOTHING

    @property
    def ranks(self) -> list[Rank]:
        """Return disjoint ranks that together have all results, best first.

        Whole words in the title; prefixes in the title; everything else.
        """
        if not self.alternatives:
            return [Rank(NOTHING)]
        whole = self.whole_words.with_terms(lambda term: term.within(TITLE))
        title = self.with_terms(lambda term: term.within(TITLE))
        ranks = [Rank(whole)] if whole == title else [Rank(whole), Rank(title, better=whole)]
        if any(required(terms) for terms in self.alternatives):
            ranks.append(Rank(self.rest, better=title))
        return ranks

    @property
    def whole_words(self) -> "Query":
        alternatives = (tuple(replace(term, is_prefix=False) for term in terms) for terms in self.alternatives)
        return replace(self, alternatives=tuple(alternatives))

    @property
    def rest(self) -> str:
        """Match anywhere, with at least one word outside of the title.

        The second condition is redundant here, but helps PostgreSQL to estimate the number of rows.
        """
        if all(len(required(terms)) == 1 for terms in self.alternatives):
            return self.with_terms(Term.outside_title)
        outside = any_of(term.outside_title() for terms in self.alternatives for term in required(terms))
        return f"{self.anywhere} & {outside}"

    def with_terms(self, query_of: Callable[[Term], str]) -> str:
        return any_of(all_of(self.conditions(terms, query_of)) for terms in self.alternatives)

    def conditions(self, terms: Iterable[Term], query_of: Callable[[Term], str]) -> list[str]:
        """Return the conditions of an alternative.

        A lone word is repeated among all tasks: PostgreSQL takes a word without statistics for half as common as the
        rarest one with them (0.5 % at most), and would look through all tasks for it if those are few and common. Two
        conditions multiply their estimates, so that it uses the word index. The few tasks of one person it looks
        through sooner.
        """
        found = [f"!{term.anywhere()}" if term.is_excluded else query_of(term) for term in terms]
        lone = [term for term in required(terms) if self.among_all]
        return [*found, query_of(lone[0])] if len(lone) == 1 and lone[0].may_be_rare else found


def parse(text: str, *, among_all: bool = True) -> Query:
    pieces = list(PIECE.finditer(text))
    alternatives: list[list[Term]] = [[]]
    for number, piece in enumerate(pieces):
        if piece[0].casefold() == OR and 0 < number < len(pieces) - 1:
            alternatives.append([])
        elif term := parse_term(piece, is_first=number == 0, is_alone=len(pieces) == 1):
            alternatives[-1].append(term)
    return Query(tuple(tuple(terms) for terms in alternatives if terms), among_all)


def parse_term(piece: re.Match[str], *, is_first: bool, is_alone: bool) -> Term | None:
    """Return None if there is no word."""
    bare = piece["bare"]
    found = list(islice(words(bare or piece["phrase"]), MAX_WORDS))
    if not found:
        return None
    ending = found[-1]
    if ending.run_length > 1:  # the preceding pairs suffice, and match longer runs too
        found.pop()
    is_excluded = bool(piece["minus"]) or excludes(bare or "", is_first=is_first)
    # A single letter is a prefix in half of all texts, which is too expensive to combine with other words.
    may_be_prefix = is_alone or len(ending.text) > 1
    return Term(
        tuple(word.text for word in found),
        is_excluded=is_excluded,
        is_prefix=bool(bare) and may_be_prefix and not is_excluded and not ending.run_length,
        is_character=ending.run_length == 1,
    )


def excludes(bare: str, *, is_first: bool) -> bool:
    """Return whether a minus excludes: it may also be a dash, a long option or the sign of a number."""
    return bare[:1] == "-" and bare[1:2].isalnum() and not (is_first and bare[1].isdigit())


def required(terms: Iterable[Term]) -> list[Term]:
    return [term for term in terms if not term.is_excluded]


def all_of(queries: Iterable[str]) -> str:
    return f"({' & '.join(queries)})"


def any_of(queries: Iterable[str]) -> str:
    return f"({' | '.join(queries)})"
