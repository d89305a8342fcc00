"""Conditional requests (RFC 9110 section 13): a condition is evaluated or refused, and never ignored in silence.

If-Modified-Since is ignored on GET and HEAD, as nothing here has a modification date (section 13.1.3), and so is
If-Range, as nothing here has ranges (section 13.1.5).
"""

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from chassis.api.problems import PreconditionUnsupported

ON_READS = frozenset({"If-Match", "If-Unmodified-Since"})
ON_WRITES = frozenset({"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"})


def check(request: Request, *, evaluated: frozenset[str]) -> None:
    """Refuse the conditional headers that the view does not evaluate."""
    unsupported = ON_READS | {"If-None-Match"} if request.method in SAFE_METHODS else ON_WRITES
    for header in sorted(unsupported - evaluated):
        if header in request.headers:
            raise PreconditionUnsupported(header, f"Is not evaluated on this {request.method}; leave it out.")
