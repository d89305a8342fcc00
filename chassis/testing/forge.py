"""Valid and forged tokens, built by hand because PyJWT refuses to write the worst."""

import hmac
import json
import time
from base64 import urlsafe_b64encode

import jwt

from chassis.auth.keys import key_id
from chassis.tests.settings import JWT_SIGNING_KEY

SESSION_KEY = "5e551017" * 4


class Missing:
    """Marks a missing claim. The repr must be the same in every pytest worker."""

    def __repr__(self):
        return "MISSING"


MISSING = Missing()


def claims(**changes):
    now = int(time.time())
    issued = {
        "iss": "tmservice",
        "aud": "tmservice",
        "sub": "7",
        "sid": "70",
        "session": SESSION_KEY,
        "username": "alice",
        "role": "user",
        "epoch": 0,
        "token_type": "access",
        "iat": now,
        "exp": now + (60 if changes.get("token_type") == "service" else 300),
        "jti": "0123456789abcdef" * 2,
    }
    return without_missing(issued | changes)


def signed(payload, *, key=JWT_SIGNING_KEY, digest="sha256", **header):
    """Sign a payload: claims, or text or bytes that need not be JSON."""
    header = without_missing({"alg": "HS256", "typ": "JWT", "kid": key_id(key)} | header)
    return signed_text(json.dumps(header), json.dumps(payload) if isinstance(payload, dict) else payload, key, digest)


def signed_text(header, payload, key=JWT_SIGNING_KEY, digest="sha256"):
    message = f"{base64(to_bytes(header))}.{base64(to_bytes(payload))}"
    return f"{message}.{base64(hmac.digest(key.encode(), message.encode(), digest))}"


def to_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def base64(content):
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def without_missing(entries):
    return {name: value for name, value in entries.items() if value is not MISSING}


def read_claims(token):
    """Return the claims of a token, without verifying it."""
    return jwt.decode(token, options={"verify_signature": False})
