"""The first page of a search by relevance: one statement, compiled once for each number of ranks.

A rank is searched only if the better ones have too few results for the page. The newest tasks of a user are looked at
first, because the word index would read everybody's tasks that have a common word. They are enough if the user has no
others, or if the best rank fills the page.
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

from django.db.models import Case, Func, IntegerField, Value, When
from django.db.models.expressions import RawSQL
from django.utils import timezone

from chassis.api.pagination import Order
from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, Parameter, parameter
from tasks import search
from tasks.models import Task, TaskQuerySet, visible_values
from tasks.row_json import row_json
from tasks.search.conditions import conditions_of, unindexed_text
from tasks.search.queries import Rank

NEWEST = 1000  # tasks, in the order of the page
SHORT = (
    500_000  # bytes of their search documents together; longer ones take longer to decompress than the index to read
)
SIZE = Func("search_document", function="pg_column_size", output_field=IntegerField())
SIZES = "SELECT count(*) <= {newest} AS are_all, coalesce(sum(size), 0) <= {short} AS are_short FROM ({{}}) AS part"
IN_NEWEST = """
    SELECT id, rank FROM ({{}}) AS part WHERE rank IS NOT NULL AND (SELECT are_short FROM sizes)
    ORDER BY rank, {column} {direction}, id {direction} LIMIT {limit}
"""
FROM_NEWEST = "SELECT * FROM newest WHERE {is_enough}"
IS_ENOUGH = "(SELECT are_short AND (are_all OR (SELECT count(*) FROM newest WHERE rank = 0) = {limit}) FROM sizes)"
PART = "SELECT id, rank FROM ({{}}) AS part WHERE {condition}"
COUNT = "(SELECT count(*) FROM {})"
STATEMENT = "WITH {parts}, found AS ({found}) {page}"
FOUND = RawSQL("SELECT id FROM found", [])
RANK = RawSQL("(SELECT rank FROM found WHERE found.id = tasks_task.id)", [], IntegerField())


def read_search_page(caller: Caller, text: str, order: Order, limit: int) -> list[Any]:
    """Return the first results that the caller can see: `id`, column of the order, `rank`, `json`, an empty `state`."""
    required = visible_values(caller)
    ranks = search.parse(text, among_all=not required).ranks
    queries = {f"rank_{number}": rank.query for number, rank in enumerate(ranks)}
    page = search_page(tuple(required), order, limit, len(ranks))
    return page.all(text=unindexed_text(text), today=timezone.localdate(), **queries, **required)


@lru_cache(maxsize=256)
def search_page(required: tuple[str, ...], order: Order, limit: int, ranks: int) -> "SearchPage":
    return SearchPage(required, order, limit, ranks)


class SearchPage(CompiledQuery):
    def __init__(self, required: tuple[str, ...], order: Order, limit: int, ranks: int) -> None:
        super().__init__(self.page, is_prepared=False)  # the best plan depends on how common the words are
        self.required, self.order, self.limit = required, order, limit
        self.columns_of_order = order.columns(backwards=False)
        queries = [parameter(f"rank_{number}") for number in range(ranks)]
        ranked = [Rank(query, better) for query, better in zip(queries, [None, *queries], strict=False)]
        self.conditions = conditions_of(ranked, parameter("text"))

    @cached_property
    def compiled(self) -> tuple[str, tuple[Any, ...]]:
        parts: list[str] = []
        found = [f"TABLE rank_{number}" for number in range(len(self.conditions))]
        if self.required:
            found.append(FROM_NEWEST.format(is_enough=self.is_enough))
        values: list[Any] = []
        for name, template, rows in self.parts():
            sql, given = rows.query.sql_with_params()
            parts.append(f"{name} AS ({template.format(sql)})")
            values += given
        page, given = self.page().query.sql_with_params()
        statement = STATEMENT.format(parts=", ".join(parts), found=" UNION ALL ".join(found), page=page)
        return statement, (*values, *given)

    @property
    def is_enough(self) -> str:
        return IS_ENOUGH.format(limit=self.limit)

    def parts(self) -> Iterator[tuple[str, str, TaskQuerySet]]:
        """Yield name, template and queryset of each part. PostgreSQL skips a part whose condition is false."""
        visible = Task.objects.filter(**{name: parameter(name) for name in self.required}).values("id")
        needed = ["true"]
        if self.required:
            direction = "DESC" if self.order.descending else "ASC"
            rank = Case(*(When(condition, then=number) for number, condition in enumerate(self.conditions)))
            ranked = visible.annotate(rank=rank).values("id", "rank", self.order.column)
            in_newest = IN_NEWEST.format(column=self.order.column, direction=direction, limit=self.limit)
            yield "sizes", SIZES.format(newest=NEWEST, short=SHORT), self.sort(visible.values(size=SIZE), NEWEST + 1)
            yield "newest", in_newest, self.sort(ranked, NEWEST)
            needed = [f"NOT {self.is_enough}"]
        for number, condition in enumerate(self.conditions):
            found = visible.filter(condition).annotate(rank=Value(number))
            yield f"rank_{number}", PART.format(condition=" AND ".join(needed)), self.sort(found, self.limit)
            counts = [COUNT.format(f"rank_{better}") for better in range(number + 1)]
            needed = [needed[0], f"{' + '.join(counts)} < {self.limit}"]

    def page(self) -> TaskQuerySet:
        tasks = Task.objects.filter(pk__in=FOUND)
        tasks = tasks.annotate(rank=RANK, json=row_json(Parameter("today")), state=Value(""))
        return self.sort(tasks, self.limit, "rank").values("id", self.order.column, "rank", "json", "state")

    def sort(self, tasks: TaskQuerySet, limit: int, *before: str) -> TaskQuerySet:
        return tasks.order_by(*before, *self.columns_of_order)[:limit]
