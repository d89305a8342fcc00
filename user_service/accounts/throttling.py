"""Limits of the calls that prove who sends them by a refresh token in the body."""

from typing import Any, ClassVar

from django.db.models import F, Q, QuerySet, Value
from django.utils import timezone
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from accounts import tokens
from accounts.models import Session
from chassis.auth import limits
from chassis.auth.limits import Allowance, CallerQuery, parameter
from chassis.auth.throttling import CallerThrottle
from chassis.auth.tokens import InvalidToken


def live_session() -> QuerySet[Any, Any]:
    named = {name: parameter(name) for name in ("user_id", "key", "session_id", "jti")}
    return (
        Session.objects.live(at=parameter("now"))
        .named_by(**named)
        .values(caller_id=F("user_id"), role=F("user__role"), holds=Value(True))
    )


def refreshable_session() -> QuerySet[Any, Any]:
    is_current = Q(current_jti=parameter("jti"))
    is_retry = Q(previous_jti=parameter("jti"), rotated_at__gte=parameter("retry_from"))
    return live_session().filter(is_current | is_retry)


class SessionThrottle(CallerThrottle):
    """Count a request with a good refresh token as its account's, any other by address.

    So people behind one router do not share a limit, and junk sent from there keeps none of them out.
    """

    query: ClassVar[CallerQuery]

    def allow_request(self, request: Request, view: Any) -> bool:
        try:
            caller = self.count_caller(view) if request.method == "POST" else None
        except APIException:  # the body cannot be read: that is counted too
            if super().allow_request(request, view):
                raise
            return False
        if caller is None:
            return super().allow_request(request, view)
        role, counted = caller
        rate = limits.rates().get(role)
        return rate is None or counted is None or self.judge(request, Allowance(role, rate, counted))

    def count_caller(self, view: Any) -> tuple[str, limits.Counted | None] | None:
        """Return role and count of the account that the token in the body belongs to, or None if it is not good."""
        serializer = view.get_serializer(data=view.body)
        if not serializer.is_valid():
            return None
        try:
            claims = tokens.claims_of(serializer.validated_data["refresh"])
        except InvalidToken:
            return None
        now = timezone.now()
        row, counted = self.query.run(counting=True, now=now, retry_from=now - tokens.GRACE, **claims)
        return (row["role"], counted) if row else None


class RefreshThrottle(SessionThrottle):
    """A token that was replaced is good for a retry alone."""

    query = CallerQuery(refreshable_session)


class LogoutThrottle(SessionThrottle):
    """Any token of a session that lives ends it."""

    query = CallerQuery(live_session)
