"""Stamps: a list whose stamp is still valid has not changed, so its 304 needs no query of tasks.

Every change of a task writes history. The highest id in the history is not enough, because a transaction with a lower
id may commit later. So a stamp also has the oldest transaction that was running, and the number of entries from it on:
all older transactions had ended, and every later commit increases that number.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import TextField
from django.db.models.expressions import RawSQL
from django.http import HttpResponse, HttpResponseNotModified
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.request import Request

import chassis
from chassis import prepared
from chassis.api import etags
from chassis.auth.tokens import Caller

MAX_ENTRIES = 100
KEY_LENGTH = 16
NEVER = 2**63 - 1
STAMP = re.compile(r"(?P<key>[0-9a-f]{16})[.](?P<oldest>[0-9]{1,18})[.](?P<entries>[0-9]{1,3})")
OLDEST, NEXT = (f"pg_snapshot_{bound}(pg_current_snapshot())::text::bigint" for bound in ("xmin", "xmax"))
# Entries of a restored backup may have transaction ids of another server, beyond the next one here.
ENTRIES = f"""(
    SELECT count(*) FROM (
        SELECT FROM tasks_activity WHERE transaction_id >= {{since}} AND transaction_id < {NEXT} LIMIT {MAX_ENTRIES + 1}
    ) AS entry
)"""  # noqa: S608 - constants only
STATE = f"""(
    SELECT concat_ws('.',
        coalesce((SELECT max(id) FROM tasks_activity), 0), coalesce((SELECT position FROM directory_feed), 0),
        {OLDEST}, {ENTRIES.format(since=OLDEST)}
    )
)"""  # noqa: S608 - constants only
STATE_AND_ENTRIES = f"SELECT {STATE}, {ENTRIES.format(since='%s')}"


def state() -> RawSQL:
    """Return the state of all tasks and the directory, for stamp(), as an expression that is evaluated once."""
    return RawSQL(STATE, [], output_field=TextField())  # noqa: S611 - constants only


def stamp(state: str, request: Request, caller: Caller) -> str:
    """Return the stamp of a response that depends on nothing else; "" for one that cannot have a stamp."""
    _, _, oldest, entries = state.split(".")
    if int(entries) > MAX_ENTRIES or not can_have_stamp(request):
        return ""
    return f"{key(state, request, caller)}.{oldest}.{entries}"


def oldest_transaction(state: str) -> int:
    """Return the oldest transaction that was running."""
    return int(state.split(".")[2])


def key(state: str, request: Request, caller: Caller) -> str:
    last_id, feed_position, _, _ = state.split(".")
    configuration = [settings.DUE_SOON_DAYS, settings.PUBLIC_URL, chassis.__version__]
    viewed = [caller.id, caller.role, request.get_full_path(), timezone.localdate()]
    values = [last_id, feed_position, *viewed, *configuration]
    return salted_hmac("tasks.stamps", repr(values), algorithm="sha256").hexdigest()[:KEY_LENGTH]


def can_have_stamp(request: Request) -> bool:
    """Not a search, which depends on the index, and not a filter by username, which needs another statement."""
    users = [value for name in ("assigned_to", "created_by") for value in request.query_params.getlist(name)]
    return "search" not in request.query_params and all(re.fullmatch("[0-9]+|me|none|,", user) for user in users)


def answer_unchanged(get: Callable[[Any, Request], HttpResponse]) -> Callable[[Any, Request], HttpResponse]:
    """Answer a GET with 304 if the client sends the tag of a response whose stamp is still valid.

    Otherwise `view.state` is the state before the response was made.
    """

    @wraps(get)
    def answer(view: Any, request: Request) -> HttpResponse:
        if "If-None-Match" in request.headers and can_have_stamp(request):
            tag = valid_tag(view, request)
            if tag is not None:
                return HttpResponseNotModified(headers={"ETag": tag})
        return get(view, request)

    return answer


def valid_tag(view: Any, request: Request) -> str | None:
    """Return the client's tag if its stamp is still valid. Set `view.state`."""
    sent = {found: tag for text, tag in etags.stamps(request).items() if (found := STAMP.fullmatch(text))}
    known, tag = next(iter(sent.items()), (None, None))
    with connection.cursor() as cursor:
        prepared.execute(cursor, STATE_AND_ENTRIES, [int(known["oldest"]) if known else NEVER])
        view.state, entries = cursor.fetchone()
    if known is None or (known["key"], int(known["entries"])) != (key(view.state, request, view.caller), entries):
        return None
    return tag
