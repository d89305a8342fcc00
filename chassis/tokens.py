"""JSON Web Tokens (RFC 7519, RFC 8725): the keys, the checks, and what a verified token says of its bearer.

Both services verify here. The user service issues access and refresh tokens; either may issue service tokens,
which open internal routes and nothing else.
"""

import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import jwt
from django.conf import settings

from chassis.ids import parse_id

ALGORITHM = "HS256"
ISSUER = "tmservice"
AUDIENCE = "tmservice"
INTERNAL_AUDIENCE = "tmservice-internal"
ROLES = ("admin", "user")
SERVICE_TOKEN_SECONDS = 60
LONGEST_LIFETIME_SECONDS = 31 * 24 * 3600  # no token of ours lives longer
CLOCK_SKEW_SECONDS = 5  # how far in the future another machine's clock may have issued a token


class InvalidToken(Exception):
    """The token must not be relied on. The text says why, for the log; callers learn only that it is invalid."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: what a verified access token says of its bearer."""

    id: int
    username: str
    role: str
    epoch: int
    session_id: int

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @classmethod
    def from_claims(cls, claims: dict[str, Any]) -> Self:
        username, role, epoch = claims.get("username"), claims.get("role"), claims.get("epoch")
        if not isinstance(username, str) or role not in ROLES or type(epoch) is not int or epoch < 0:
            raise InvalidToken("claims username, role and epoch are not as issued")
        session_id = id_of(claims.get("sid"))
        return cls(id=id_of(claims["sub"]), username=username, role=role, epoch=epoch, session_id=session_id)


@dataclass(frozen=True, slots=True)
class ServiceCaller:
    """Another service of ours, on an internal route, and the user in whose request it asks, if there is one."""

    name: str
    on_behalf_of: int | None = None


def id_of(claim: object) -> int:
    """Read a claim that holds an id as a string of decimal digits, as RFC 7519 wants `sub`."""
    id_ = parse_id(claim) if isinstance(claim, str) else None
    if id_ is None:
        raise InvalidToken("a claim that must hold an id does not")
    return id_


def key_id(secret: str) -> str:
    """Name a key in the `kid` header without telling anything of it."""
    return hashlib.sha256(b"tmservice kid " + secret.encode()).hexdigest()[:16]


def keys() -> dict[str, str]:
    """Return the keys by `kid`: the current one, then those that may still verify."""
    return {key_id(secret): secret for secret in (settings.JWT_SIGNING_KEY, *settings.JWT_PREVIOUS_SIGNING_KEYS)}


def sign(claims: dict[str, Any]) -> str:
    key = settings.JWT_SIGNING_KEY
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id(key)})


def verify(token: str, *, token_type: str, audience: str) -> dict[str, Any]:
    """Return the claims of a token of ours, or raise InvalidToken.

    Everything relied on is named: algorithm, key, issuer, audience, type, and that exp, iat, jti and sub are there.
    """
    try:
        claims = jwt.decode(
            token,
            verifying_key(token),
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=audience,
            options={"require": ["exp", "iat", "jti", "sub", "iss", "aud"], "verify_iat": False},
        )
    # Beside its own errors PyJWT has let these through, for an infinite exp and for JSON nested too deep.
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidToken(str(error)) from error
    check_claims(claims, token_type=token_type)
    return claims


def verifying_key(token: str) -> str:
    try:
        return keys()[jwt.get_unverified_header(token)["kid"]]
    except (KeyError, TypeError) as error:  # TypeError: a kid that cannot be looked up, such as a list
        raise InvalidToken("signed with a key that is not in use") from error


def check_claims(claims: dict[str, Any], *, token_type: str) -> None:
    if claims.get("token_type") != token_type:
        raise InvalidToken(f"not a token of type {token_type}")
    # PyJWT takes whatever int() takes, numeric strings and true included.
    if type(claims["exp"]) is not int or type(claims["iat"]) is not int:
        raise InvalidToken("exp and iat must be whole numbers")
    if not 0 < claims["exp"] - claims["iat"] <= LONGEST_LIFETIME_SECONDS:
        raise InvalidToken("lives longer than any token of ours")
    if not isinstance(claims["jti"], str) or not re.fullmatch("[0-9a-f]{32}", claims["jti"]):
        raise InvalidToken("jti is not as issued")
    if claims["iat"] > time.time() + CLOCK_SKEW_SECONDS:
        raise InvalidToken("issued in the future")


def verify_access(token: str) -> Caller:
    return Caller.from_claims(verify(token, token_type="access", audience=AUDIENCE))


def verify_service(token: str) -> ServiceCaller:
    claims = verify(token, token_type="service", audience=INTERNAL_AUDIENCE)
    user = claims.get("on_behalf_of")
    return ServiceCaller(claims["sub"], on_behalf_of=None if user is None else id_of(user))


def issue_service_token(service: str, *, on_behalf_of: int | None = None) -> str:
    """Return a token that proves to another service that `service` is asking; it lives for a minute."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": INTERNAL_AUDIENCE,
        "sub": service,
        "token_type": "service",
        "iat": now,
        "exp": now + SERVICE_TOKEN_SECONDS,
        "jti": uuid4().hex,
    }
    return sign(claims if on_behalf_of is None else claims | {"on_behalf_of": str(on_behalf_of)})
