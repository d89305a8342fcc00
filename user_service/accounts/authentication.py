"""The user service asks its own table about every caller: rights are those of now, not of when the token was made."""

from dataclasses import replace
from typing import Any

from django.db.models import F, QuerySet, Value
from django.utils import timezone

from accounts.models import Session
from chassis.auth.authentication import BearerAuthentication
from chassis.auth.limits import CallerQuery, Counted, parameter
from chassis.auth.tokens import Caller, InvalidToken


def living_session() -> QuerySet[Any, Any]:
    return (
        Session.objects.live(at=parameter("now"))
        .filter(key=parameter("session_key"), user_id=parameter("user_id"))
        .values(
            caller_id=F("user_id"),
            session_id=F("id"),
            username=F("user__username"),
            role=F("user__role"),
            holds=Value(True),
        )
    )


CALLER = CallerQuery(living_session)


class AccountAuthentication(BearerAuthentication):
    def confirm(self, caller: Caller, *, counting: bool) -> tuple[Caller, Counted | None]:
        if caller.session_key is None:
            raise InvalidToken("names no session; the version before has issued it")
        row, counted = CALLER.run(
            counting=counting, now=timezone.now(), session_key=caller.session_key.hex, user_id=caller.id
        )
        if row is None:
            raise InvalidToken("the session has ended or the account is gone")
        now = {name: row[name] for name in ("username", "role", "session_id")}
        return replace(caller, **now), counted
