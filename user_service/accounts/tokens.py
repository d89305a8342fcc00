"""Issues, refreshes and verifies the tokens of sessions, with simplejwt's classes and our keys."""

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from accounts.models import AuditEvent, Session
from accounts.models.session import SessionQuerySet
from chassis.auth import tokens
from chassis.auth.tokens import Caller, InvalidToken

# A client that lost the response may retry with the same refresh token for this long.
GRACE_PERIOD = timedelta(seconds=10)


class KeyIdBackend(TokenBackend):
    """simplejwt's backend writes no `kid` and has one key; chassis.auth.tokens chooses the key and algorithm."""

    def encode(self, payload: dict[str, Any]) -> str:
        return tokens.sign({**payload, "aud": self.audience, "iss": self.issuer})


BACKEND = KeyIdBackend("HS256", audience=tokens.AUDIENCE, issuer=tokens.ISSUER)


class SessionRefreshToken(RefreshToken):
    def get_token_backend(self) -> TokenBackend:
        return BACKEND


class SessionAccessToken(AccessToken):
    def get_token_backend(self) -> TokenBackend:
        return BACKEND


def token_pair(session: Session) -> dict[str, str]:
    """Return the session's {"access", "refresh"}. The same row gives the same bytes, so a retry gets the same pair."""
    refresh = with_claims(SessionRefreshToken(), session, jti=session.current_jti)
    access = with_claims(SessionAccessToken(), session, jti=access_jti(session.current_jti))
    user = session.user
    access["username"], access["role"], access["epoch"] = user.username, user.role, user.epoch
    return {"access": str(access), "refresh": str(refresh)}


def with_claims(token: Token, session: Session, *, jti: str) -> Token:
    token.set_iat(at_time=session.rotated_at)
    token.set_exp(from_time=session.rotated_at)
    token["exp"] = min(token["exp"], int(session.expires_at.timestamp()))  # no token outlives its session
    token["jti"], token["sub"], token["session"] = jti, str(session.user_id), session.key.hex
    token["sid"] = str(session.pk)  # the previous version finds the session by it
    return token


def access_jti(jti: str) -> str:
    return hashlib.sha256(b"access " + jti.encode()).hexdigest()[:32]


def refresh(token: str) -> dict[str, str]:
    """Exchange a refresh token for the next pair, or raise InvalidToken.

    A retry within GRACE_PERIOD gets the same pair. Any other reuse means that two parties have the token, so the
    session ends for both (RFC 9700 section 4.14.2).
    """
    sessions, jti = find_session(token)
    rotated = sessions.rotate(jti=jti)
    session = live_session(sessions)
    if rotated or is_retry(session, jti):
        return token_pair(session)
    session.end(by=None, event=AuditEvent.Event.TOKEN_REUSE)
    raise InvalidToken("a refresh token was used twice")


def verify(token: str) -> None:
    """Raise InvalidToken unless this access or refresh token is valid now."""
    try:
        caller, session_key = verify_access(token)
    except InvalidToken:
        verify_refresh(token)
    else:
        live_session(Session.objects.filter(key=session_key, user_id=caller.id))


def verify_refresh(token: str) -> None:
    sessions, jti = find_session(token)
    if live_session(sessions).current_jti != jti:
        raise InvalidToken("the refresh token was already used")


def verify_access(token: str) -> tuple[Caller, UUID]:
    """Return the caller and the session key of an access token, or raise InvalidToken."""
    caller = tokens.verify_access(token)
    if caller.session_key is None:
        raise InvalidToken("names no session; issued by the previous version")
    return caller, caller.session_key


def end_session(token: str) -> None:
    """End the session of a refresh token if it is still live. Raise InvalidToken for an invalid token."""
    sessions, _ = find_session(token)
    if session := sessions.select_related("user").first():
        session.end(by=session.user)


def find_session(token: str) -> tuple[SessionQuerySet, str]:
    """Return the session of a refresh token, as a queryset with at most one row, and the jti."""
    claims = refresh_claims(token)
    return Session.objects.for_refresh_token(**claims), claims["jti"]


def refresh_claims(token: str) -> dict[str, Any]:
    """Return the arguments for SessionQuerySet.for_refresh_token, or raise InvalidToken."""
    claims = tokens.verify(token, token_type="refresh", audience=tokens.AUDIENCE)
    key = tokens.parse_session_key(claims)
    return {
        "user_id": tokens.parse_id_claim(claims["sub"]),
        "key": key and key.hex,
        "session_id": None if key else tokens.parse_id_claim(claims.get("sid")),
        "jti": claims["jti"],
    }


def live_session(sessions: SessionQuerySet) -> Session:
    try:
        session: Session = sessions.live().select_related("user").get()
    except Session.DoesNotExist as error:
        raise InvalidToken("the session has ended") from error
    return session


def is_retry(session: Session, jti: str) -> bool:
    return session.previous_jti == jti and timezone.now() - session.rotated_at <= GRACE_PERIOD
