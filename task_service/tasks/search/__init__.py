from tasks.search.documents import document
from tasks.search.queries import Query, parse
from tasks.search.words import RULES

__all__ = ["RULES", "Query", "document", "parse"]
