"""Authentication of users: every token is checked against the live sessions, so role and rights are current.

An access token comes in the Authorization header, a refresh token in the body.
"""

from dataclasses import replace
from typing import Any, ClassVar

from django.db.models import F, Q, QuerySet, Value
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.models import Session
from accounts.models.session import SessionQuerySet
from accounts.tokens import GRACE_PERIOD, refresh_claims, verify_access
from chassis.auth import gate
from chassis.auth.limits import CallerQuery, CountedRequest
from chassis.auth.tokens import Caller, InvalidToken
from chassis.compiled_query import parameter


def live_sessions() -> SessionQuerySet:
    sessions: SessionQuerySet = Session.objects.live(at=parameter("now"))
    return sessions


def caller_columns(sessions: SessionQuerySet) -> QuerySet[Any, Any]:
    return sessions.values(
        caller_id=F("user_id"),
        session_id=F("id"),
        username=F("user__username"),
        role=F("user__role"),
        epoch=F("user__epoch"),
        is_current=Value(True),
    )


def session_key_query() -> QuerySet[Any, Any]:
    return caller_columns(live_sessions().filter(key=parameter("session_key"), user_id=parameter("user_id")))


def refresh_token_query() -> QuerySet[Any, Any]:
    return caller_columns(
        live_sessions().for_refresh_token(**{name: parameter(name) for name in ("user_id", "key", "session_id", "jti")})
    )


def usable_refresh_token_query() -> QuerySet[Any, Any]:
    is_retry = Q(previous_jti=parameter("jti"), rotated_at__gte=parameter("retry_from"))
    return refresh_token_query().filter(Q(current_jti=parameter("jti")) | is_retry)


class AccountAuthentication(gate.BearerAuthentication):
    query = CallerQuery(session_key_query)

    def resolve(self, token: str) -> tuple[Caller, CountedRequest | None]:
        caller, session_key = verify_access(token)
        row, counted = self.query.run(now=timezone.now(), session_key=session_key.hex, user_id=caller.id)
        if row is None:
            raise InvalidToken("the session has ended or the account was deleted")
        now = {name: row[name] for name in ("username", "role", "session_id")}
        return replace(caller, **now), counted


class RefreshTokenAuthentication(BaseAuthentication):
    """A refresh token in the body. A request with a valid one counts by account, any other by address.

    So users behind one router do not share a limit, and invalid tokens sent from there do not lock them out. The view
    reports what is wrong with a token.
    """

    query: ClassVar[CallerQuery] = CallerQuery(usable_refresh_token_query)

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        token = read_refresh_token(request)
        try:
            claims = refresh_claims(token)
        except InvalidToken:
            return None
        now = timezone.now()
        row, counted = self.query.run(now=now, retry_from=now - GRACE_PERIOD, **claims)
        if row is None:
            return None
        caller = Caller(row["caller_id"], row["username"], row["role"], row["epoch"], session_id=row["session_id"])
        gate.record(request, caller, counted)
        return caller, None


class SignOutAuthentication(RefreshTokenAuthentication):
    """Also accepts a replaced refresh token of a live session."""

    query = CallerQuery(refresh_token_query)


def read_refresh_token(request: Request) -> str:
    match request.data if request.method == "POST" else {}:
        case {"refresh": str(token), **others} if not others:
            return token.strip()
    return ""
