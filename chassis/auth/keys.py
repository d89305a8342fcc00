"""Keys that sign and verify tokens: a shared secret or a key pair. The key decides the algorithm, never the token.

Names follow RFC 7517 (JSON Web Key) and RFC 7638 (thumbprints).
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm
from jwt.utils import base64url_encode

MIN_DISTINCT_BYTES = 10  # 32 random bytes have about 30
PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
# Thumbprints of published private keys: RFC 8037 A.1, RFC 8032 7.1 (tests 2 and 3), RFC 7515 A.3,
# RFC 7517 A.1, and the sample of jwt.io.
SAMPLE_THUMBPRINTS = {
    "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "FtIu-VbGrfe_KB6CH7GNwODB72MNxj_ml11dEvO-7kk",
    "FVV5umTuau890q59V-4Ga_R6qWb7ON_ivJc4EjvCwTM",
    "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
    "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
    "19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8",
}


class UnusableKey(ValueError):
    """The text completes a sentence that begins with the name of the setting: "is not in PEM format"."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key with its `kid` and its only algorithm, in the form that PyJWT accepts."""

    id: str
    algorithm: str
    material: Any


@dataclass(frozen=True, slots=True)
class PublicKey(Key):
    """A key that verifies signatures; it is not secret."""

    jwk: tuple[tuple[str, str], ...]

    @classmethod
    def from_material(cls, material: Ed25519PublicKey | EllipticCurvePublicKey) -> Self:
        if isinstance(material, Ed25519PublicKey):
            algorithm, described = "EdDSA", OKPAlgorithm.to_jwk(material, as_dict=True)
        else:
            algorithm, described = "ES256", ECAlgorithm.to_jwk(material, as_dict=True)
        members = {name: str(value) for name, value in described.items() if name in ("crv", "kty", "x", "y")}
        thumbprint = compute_thumbprint(members)
        if thumbprint in SAMPLE_THUMBPRINTS:
            raise UnusableKey("is a sample key")
        return cls(thumbprint, algorithm, material, tuple(members.items()))

    def to_pem(self) -> str:
        pem: bytes = self.material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode()

    def to_jwk(self) -> dict[str, str]:
        return dict(self.jwk) | {"alg": self.algorithm, "kid": self.id, "use": "sig"}


@dataclass(frozen=True, slots=True)
class PrivateKey(Key):
    """A key that signs; only the service that issues tokens has it."""

    public: PublicKey


@lru_cache(maxsize=16)
def shared_key(secret: str) -> Key:
    return Key(key_id(secret), "HS256", secret)


def key_id(secret: str) -> str:
    """Return the `kid` of a shared key, which discloses nothing about it."""
    return hashlib.sha256(b"tmservice kid " + secret.encode()).hexdigest()[:16]


def compute_thumbprint(members: dict[str, str]) -> str:
    """Return the RFC 7638 thumbprint of a public key's required members."""
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(canonical.encode()).digest()).decode()


def private_key(text: str) -> PrivateKey:
    """Parse one PEM block in PKCS#8, or raise UnusableKey."""
    (label, pem), *more = pem_blocks(text)
    if more or label != "PRIVATE KEY":
        raise UnusableKey(f"must be one PRIVATE KEY in PEM (PKCS#8), not {'several blocks' if more else label}")
    material = load(load_pem_private_key, pem, password=None)
    if isinstance(material, Ed25519PrivateKey):
        secret = material.private_bytes_raw()
    elif is_p256(material, EllipticCurvePrivateKey):
        secret = material.private_numbers().private_value.to_bytes(32)
    else:
        raise UnusableKey("must be an Ed25519 or a P-256 key")
    if len(set(secret)) < MIN_DISTINCT_BYTES:
        raise UnusableKey("is too easy to guess")
    public = PublicKey.from_material(material.public_key())
    return PrivateKey(public.id, public.algorithm, material, public)


def public_keys(text: str) -> list[PublicKey]:
    """Parse one or more PEM blocks, or raise UnusableKey."""
    return [public_key(label, pem) for label, pem in pem_blocks(text)]


def public_key(label: str, pem: bytes) -> PublicKey:
    if label != "PUBLIC KEY":
        raise UnusableKey(f"must contain only PUBLIC KEY blocks in PEM, not {label}")
    material = load(load_pem_public_key, pem)
    if not isinstance(material, Ed25519PublicKey) and not is_p256(material, EllipticCurvePublicKey):
        raise UnusableKey("must be Ed25519 or P-256 keys")
    return PublicKey.from_material(material)


def is_p256(material: object, kind: type[EllipticCurvePrivateKey] | type[EllipticCurvePublicKey]) -> bool:
    return isinstance(material, kind) and isinstance(material.curve, SECP256R1)


def pem_blocks(text: str) -> list[tuple[str, bytes]]:
    """Return the label and the bytes of each block. A line break may be written as \\n, for .env files."""
    text = text.replace("\\n", "\n")
    blocks = [(found[1], found[0].encode()) for found in PEM_BLOCK.finditer(text)]
    if not blocks or PEM_BLOCK.sub("", text).strip(" \r\n,"):
        raise UnusableKey("is not in PEM format")
    return blocks


def load(loader: Any, pem: bytes, **options: Any) -> Any:
    try:
        return loader(pem, **options)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the text may contain a part of the key
        raise UnusableKey("is not a supported key in PEM") from None
