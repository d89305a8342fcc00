"""JSON Web Tokens (RFC 7519, RFC 8725): the checks, and what a verified token says about its bearer.

Both services verify here. The user service issues access and refresh tokens; either may issue service tokens,
which open internal routes and nothing else. docs/tokens.md says which key is good for which token.
"""

import json
import re
import time
from dataclasses import dataclass
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
CLOCK_SKEW_SECONDS = 30  # how far in the future another machine's clock may have issued a token
MAX_TOKEN_CHARACTERS = 4096
COMPACT_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # base64url, not padded (RFC 7515)
RANDOM_ID = re.compile("[0-9a-f]{32}")


class InvalidToken(Exception):
    """The token must not be relied on. The text says why, for the log; callers learn only that it is invalid."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: what a verified access token says about its bearer.

    `session_key` is missing in tokens of the version before; only the user service knows the `session_id`.
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
            raise InvalidToken("claim username is not as issued")
        if role not in ROLES or type(epoch) is not int or epoch < 0:
            raise InvalidToken("claims role and epoch are not as issued")
        key = parse_session_key(claims)
        return cls(id=parse_id_claim(claims["sub"]), username=username, role=role, epoch=epoch, session_key=key)


@dataclass(frozen=True, slots=True)
class ServiceCaller:
    """Another service of ours, on an internal route, and the user in whose request it asks, if there is one."""

    name: str
    on_behalf_of: int | None = None


def parse_id_claim(claim: object) -> int:
    """Read a claim that holds an id as a string of decimal digits, as RFC 7519 wants `sub`."""
    id_ = parse_id(claim) if isinstance(claim, str) else None
    if id_ is None:
        raise InvalidToken("a claim that must hold an id does not")
    return id_


def parse_session_key(claims: dict[str, Any]) -> UUID | None:
    """Read the claim by which the user service finds the session, None in a token of the version before."""
    if "session" not in claims:
        return None
    return UUID(parse_random_id(claims["session"]))


def parse_random_id(claim: object) -> str:
    if not isinstance(claim, str) or not RANDOM_ID.fullmatch(claim):
        raise InvalidToken("a claim that must hold a random id does not")
    return claim


def verifying_keys(audience: str) -> dict[str, Key]:
    """Return the keys that a token for this audience may be signed with, by `kid`.

    Where a key pair is in use, the shared key signs service tokens alone; those listed as previous keys still verify
    everything, so that tokens from before the change expire in their own time.
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
    """Return the claims of a token of ours, or raise InvalidToken.

    Everything relied on is named: algorithm, key, issuer, audience, type, and that exp, iat, jti and sub are there.
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
    # Beside its own errors PyJWT has let these through, for an infinite exp and for JSON nested too deep.
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidToken(str(error)) from error
    check_claims(claims, token_type=token_type)
    return claims


def strict_header(token: str) -> dict[str, Any]:
    """Return the header of a token whose form is beyond doubt, so that no two parsers can read it differently.

    Refused before anything is verified: what is too long or not in the compact form, and a header or payload that is
    no object in UTF-8, repeats a name, or holds NaN or Infinity.
    """
    if len(token) > MAX_TOKEN_CHARACTERS or not COMPACT_FORM.fullmatch(token):
        raise InvalidToken("not in the compact form")
    header, _ = (strict_object(part) for part in token.split(".")[:2])
    if "crit" in header:  # RFC 7515 section 4.1.11: no extension is understood here
        raise InvalidToken("needs an extension that is not understood")
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
    except (KeyError, TypeError) as error:  # TypeError: a kid that cannot be looked up, such as a list
        raise InvalidToken("signed with a key that is not in use") from error


def check_claims(claims: dict[str, Any], *, token_type: str) -> None:
    if claims.get("token_type") != token_type:
        raise InvalidToken(f"not a token of type {token_type}")
    # PyJWT takes whatever int() takes, numeric strings and true included.
    if any(type(claims[name]) is not int for name in ("exp", "iat", "nbf") if name in claims):
        raise InvalidToken("exp, iat and nbf must be whole numbers")
    if not 0 < claims["exp"] - claims["iat"] <= LIFETIME_SECONDS[token_type]:
        raise InvalidToken("lives longer than any such token of ours")
    parse_random_id(claims["jti"])
    if claims["iat"] > time.time() + CLOCK_SKEW_SECONDS:
        raise InvalidToken("issued in the future")


def verify_access(token: str) -> Caller:
    return Caller.from_claims(verify(token, token_type="access", audience=AUDIENCE))


def verify_service(token: str) -> ServiceCaller:
    claims = verify(token, token_type="service", audience=INTERNAL_AUDIENCE)
    user = claims.get("on_behalf_of")
    return ServiceCaller(claims["sub"], on_behalf_of=None if user is None else parse_id_claim(user))


def issue_service_token(service: str, *, on_behalf_of: int | None = None) -> str:
    """Return a token that proves to another service that `service` is asking; it lives for a minute."""
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
