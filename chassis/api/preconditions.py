"""Conditional requests (RFC 9110 section 13): a condition is evaluated or rejected, never silently ignored.

If-Modified-Since is ignored on GET and HEAD because no resource has a modification date (section 13.1.3), and If-Range
because no resource supports ranges (section 13.1.5).
"""

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from chassis.api.problems import PreconditionUnsupported

READ_CONDITIONS = frozenset({"If-Match", "If-Unmodified-Since"})
WRITE_CONDITIONS = frozenset({"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"})


def check(request: Request, *, evaluated: frozenset[str]) -> None:
    """Reject conditional headers that the view does not evaluate."""
    unsupported = READ_CONDITIONS | {"If-None-Match"} if request.method in SAFE_METHODS else WRITE_CONDITIONS
    for header in sorted(unsupported - evaluated):
        if header in request.headers:
            raise PreconditionUnsupported(header, f"Is not supported for this {request.method}; remove it.")
