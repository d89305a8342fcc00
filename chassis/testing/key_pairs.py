"""Key pairs for tests, generated on demand, so that nobody can copy one from the repository."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from chassis.auth import keys

MAKERS = {"EdDSA": ed25519.Ed25519PrivateKey.generate, "ES256": lambda: ec.generate_private_key(ec.SECP256R1())}


@cache
def pair(algorithm="EdDSA", name="first"):
    """Return a private key; the same one for the same name."""
    return keys.private_key(private_pem(MAKERS[algorithm]()))


def private_pem(key, *, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


def public_pem(key):
    """Return the public key of a private key."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
