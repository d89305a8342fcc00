"""The user service asks its own table about every caller: rights are those of now, not of when the token was made."""

from dataclasses import replace
from typing import Any

from django.db.models import F, QuerySet, Value
from django.utils import timezone

from accounts.models import Session
from chassis.authentication import BearerAuthentication
from chassis.limits import CallerQuery, Counted, parameter
from chassis.tokens import Caller, InvalidToken


def living_session() -> QuerySet[Any, Any]:
    return (
        Session.objects.live(at=parameter("now"))
        .filter(pk=parameter("session_id"), user_id=parameter("user_id"))
        .values(caller_id=F("user_id"), username=F("user__username"), role=F("user__role"), holds=Value(True))
    )


CALLER = CallerQuery(living_session)


class AccountAuthentication(BearerAuthentication):
    def confirm(self, caller: Caller, *, counting: bool) -> tuple[Caller, Counted | None]:
        row, counted = CALLER.run(
            counting=counting, now=timezone.now(), session_id=caller.session_id, user_id=caller.id
        )
        if row is None:
            raise InvalidToken("the session has ended or the account is gone")
        return replace(caller, username=row["username"], role=row["role"]), counted
