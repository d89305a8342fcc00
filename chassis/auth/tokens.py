"""JSON Web Tokens (RFC 7519, RFC 8725): verification, and the claims of a verified token.

Both services verify tokens here. The user service issues access and refresh tokens; either may issue service tokens,
which only give access to internal routes. docs/tokens.md lists which key signs which token.
"""

import json
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self
from uuid import UUID, uuid4

import jwt
from django.conf import settings
from jwt.utils import base64url_decode

from chassis.auth.keys import Key, shared_key
from chassis.ids import parse_id

ISSUER = "tmservice"
AUDIENCE = "tmservice"
INTERNAL_AUDIENCE = "tmservice-internal"
ROLES = ("admin", "user")
LIFETIME_SECONDS: dict[str, int] = {"access": 5 * 60, "refresh": 7 * 24 * 3600, "service": 60}
CLOCK_SKEW_SECONDS = 30  # tolerance for the clock of the issuer
MAX_TOKEN_CHARACTERS = 4096
MAX_CACHED_TOKENS = 1000  # per process, about 1 kB each
COMPACT_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # unpadded base64url (RFC 7515)
RANDOM_ID = re.compile("[0-9a-f]{32}")


class InvalidToken(Exception):
    """The token is not accepted. The text is for the log only; the client learns only that the token is invalid."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who makes the request, from a verified access token.

    Tokens of the previous version have no `session_key`; only the user service knows the `session_id`.
    """

    id: int
    username: str
    role: str
    epoch: int
    session_key: UUID | None = None
    session_id: int | None = None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @classmethod
    def from_claims(cls, claims: dict[str, Any]) -> Self:
        username, role, epoch = claims.get("username"), claims.get("role"), claims.get("epoch")
        if not isinstance(username, str) or not username.isprintable():  # lone surrogates are not
            raise InvalidToken("claim username is invalid")
        if role not in ROLES or type(epoch) is not int or epoch < 0:
            raise InvalidToken("claims role and epoch are invalid")
        key = parse_session_key(claims)
        return cls(id=parse_id_claim(claims["sub"]), username=username, role=role, epoch=epoch, session_key=key)


@dataclass(frozen=True, slots=True)
class ServiceCaller:
    """Another service of TMService, on an internal route, and the user on whose behalf it calls, if any."""

    name: str
    on_behalf_of: int | None = None


def parse_id_claim(claim: object) -> int:
    """Parse a claim that is an id as a string of digits, as RFC 7519 requires for `sub`."""
    id_ = parse_id(claim) if isinstance(claim, str) else None
    if id_ is None:
        raise InvalidToken("a claim that must be an id is not one")
    return id_


def parse_session_key(claims: dict[str, Any]) -> UUID | None:
    """Parse the claim that identifies the session; None in a token of the previous version."""
    if "session" not in claims:
        return None
    return UUID(parse_random_id(claims["session"]))


def parse_random_id(claim: object) -> str:
    if not isinstance(claim, str) or not RANDOM_ID.fullmatch(claim):
        raise InvalidToken("a claim that must be a random id is not one")
    return claim


def verifying_keys(audience: str) -> dict[str, Key]:
    """Return the keys that verify tokens for this audience, by `kid`.

    With a key pair, the shared key only signs service tokens; previous keys still verify all tokens, so that tokens
    issued before the change stay valid until they expire.
    """
    previous = [shared_key(secret) for secret in settings.JWT_PREVIOUS_SIGNING_KEYS]
    if audience == AUDIENCE and settings.JWT_PUBLIC_KEYS:
        allowed = [*settings.JWT_PUBLIC_KEYS, *previous]
    else:
        allowed = [shared_key(settings.JWT_SIGNING_KEY), *previous]
    return {key.id: key for key in allowed}


def signing_key(audience: str) -> Key:
    if audience == AUDIENCE and settings.JWT_PRIVATE_KEY:
        pair: Key = settings.JWT_PRIVATE_KEY
        return pair
    return shared_key(settings.JWT_SIGNING_KEY)


def sign(claims: dict[str, Any]) -> str:
    key = signing_key(claims["aud"])
    return jwt.encode(claims, key.material, algorithm=key.algorithm, headers={"kid": key.id})


def verify(token: str, *, token_type: str, audience: str) -> dict[str, Any]:
    """Return the claims of a valid token, or raise InvalidToken.

    Checks the algorithm, key, issuer, audience and type, and requires exp, iat, jti and sub.
    """
    key = find_key(strict_header(token), audience=audience)
    try:
        claims = jwt.decode(
            token,
            key.material,
            algorithms=[key.algorithm],
            issuer=ISSUER,
            audience=audience,
            options={
                "require": ["exp", "iat", "jti", "sub", "iss", "aud"],
                "verify_iat": False,
                "strict_aud": True,
            },
        )
    # PyJWT raises the built-in ones for an infinite exp and for deeply nested JSON.
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidToken(str(error)) from error
    check_claims(claims, token_type=token_type)
    return claims


def strict_header(token: str) -> dict[str, Any]:
    """Return the header of a token that no two parsers can read differently, or raise InvalidToken.

    Rejects, before any verification, a token that is too long or not in compact form, and a header or payload that is
    not a JSON object in UTF-8, repeats a name, or contains NaN or Infinity.
    """
    if len(token) > MAX_TOKEN_CHARACTERS or not COMPACT_FORM.fullmatch(token):
        raise InvalidToken("not in compact form")
    header, _ = (strict_object(part) for part in token.split(".")[:2])
    if "crit" in header:  # RFC 7515 section 4.1.11: no extension is supported
        raise InvalidToken("needs an extension that is not supported")
    return header


def strict_object(part: str) -> dict[str, Any]:
    """Parse as chassis.api.strict_json does, which cannot be imported here: settings read this module."""
    try:
        text = base64url_decode(part).decode()
        found = json.loads(text, object_pairs_hook=unique_names, parse_constant=reject_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidToken(f"header or payload is not JSON in UTF-8: {error}") from error
    if not isinstance(found, dict):
        raise InvalidToken("header and payload must be objects")
    return found


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise InvalidToken("a name appears twice in one object")
    return dict(pairs)


def reject_constant(name: str) -> None:
    raise InvalidToken(f"{name} is not JSON")


def find_key(header: dict[str, Any], *, audience: str) -> Key:
    try:
        return verifying_keys(audience)[header["kid"]]
    except (KeyError, TypeError) as error:  # TypeError: an unhashable kid, such as a list
        raise InvalidToken("signed with a key that is not in use") from error


def check_claims(claims: dict[str, Any], *, token_type: str) -> None:
    if claims.get("token_type") != token_type:
        raise InvalidToken(f"not a token of type {token_type}")
    # PyJWT accepts everything that int() does, such as numeric strings and true.
    if any(type(claims[name]) is not int for name in ("exp", "iat", "nbf") if name in claims):
        raise InvalidToken("exp, iat and nbf must be whole numbers")
    if not 0 < claims["exp"] - claims["iat"] <= LIFETIME_SECONDS[token_type]:
        raise InvalidToken("its lifetime is longer than any token of this type")
    parse_random_id(claims["jti"])
    if claims["iat"] > time.time() + CLOCK_SKEW_SECONDS:
        raise InvalidToken("issued in the future")


def verify_access(token: str) -> Caller:
    """Return the caller of a valid access token, or raise InvalidToken."""
    caller, expires_at = verify_signature(token, tuple(verifying_keys(AUDIENCE)))
    if expires_at <= time.time():
        raise InvalidToken("Signature has expired")
    return caller


@lru_cache(maxsize=MAX_CACHED_TOKENS)
def verify_signature(token: str, key_ids: tuple[str, ...]) -> tuple[Caller, int]:
    """Return the caller and `exp` of an access token, cached for these keys. Invalid tokens raise, so none is cached.

    Only what never changes is cached: whether the caller still has these rights is looked up for every request.
    """
    claims = verify(token, token_type="access", audience=AUDIENCE)
    return Caller.from_claims(claims), claims["exp"]


def verify_service(token: str) -> ServiceCaller:
    claims = verify(token, token_type="service", audience=INTERNAL_AUDIENCE)
    user = claims.get("on_behalf_of")
    return ServiceCaller(claims["sub"], on_behalf_of=None if user is None else parse_id_claim(user))


def issue_service_token(service: str, *, on_behalf_of: int | None = None) -> str:
    """Return a token that authenticates `service` to another service for a minute."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": INTERNAL_AUDIENCE,
        "sub": service,
        "token_type": "service",
        "iat": now,
        "exp": now + LIFETIME_SECONDS["service"],
        "jti": uuid4().hex,
    }
    return sign(claims if on_behalf_of is None else claims | {"on_behalf_of": str(on_behalf_of)})
