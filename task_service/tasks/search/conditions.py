"""Search conditions on tasks, for the ORM. See tasks.search.documents for the stored form.

Queries and texts are strings or expressions.
"""

import re
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector, SearchVectorExact
from django.db.models import BooleanField, Func, Q, Value

from tasks.search.queries import Rank
from tasks.search.words import RULES

# One of several minus signs is enough, and PostgreSQL fails on more than 32: "tsquery stack too small".
MINUS_BEFORE_MINUS = re.compile(r'-(?=[^\w"-]*-)')
TEXT_VECTOR = SearchVector("title", "description", config="simple")  # the index task_search has the same expression
NOT_INDEXED = ~Q(search_rules=RULES)


def matches(query: Any) -> Q:
    """Use a query of tasks.search unchanged: PostgreSQL's functions would parse its words again."""
    template = "(%(expressions)s::tsquery)"
    value = query if hasattr(query, "resolve_expression") else Value(query)
    return Q(Func("search_document", value, template=template, arg_joiner=" @@ ", output_field=BooleanField()))


def conditions_of(ranks: list[Rank], text: Any) -> list[Q]:
    """Return the condition of each rank; the tasks that are not indexed yet are in the last one."""
    *best, last = map(matches_rank, ranks)
    return [*best, last | matches_unindexed(text)]


def matches_rank(rank: Rank) -> Q:
    return matches(rank.query) if rank.better is None else matches(rank.query) & ~matches(rank.better)


def matches_unindexed(text: Any) -> Q:
    """Find tasks that are not indexed yet, as the previous version did. `text` is that of unindexed_text()."""
    query = SearchQuery(text, config="simple", search_type="websearch")
    return NOT_INDEXED & Q(search_document=None) & Q(SearchVectorExact(TEXT_VECTOR, query))


def unindexed_text(text: str) -> str:
    return MINUS_BEFORE_MINUS.sub("", text)
