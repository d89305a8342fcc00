"""The user service asks its own table about every caller: rights are those of now, not of when the token was made."""

from dataclasses import replace

from accounts.models import Session
from chassis.authentication import BearerAuthentication
from chassis.tokens import Caller, InvalidToken


class AccountAuthentication(BearerAuthentication):
    def confirm(self, caller: Caller) -> Caller:
        row = (
            Session.objects.live()
            .filter(pk=caller.session_id, user_id=caller.id)
            .values("user__username", "user__role")
            .first()
        )
        if row is None:
            raise InvalidToken("the session has ended or the account is gone")
        return replace(caller, username=row["user__username"], role=row["user__role"])
