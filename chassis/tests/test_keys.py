"""Which keys are accepted, their ids, and the tokens that they verify."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat

from chassis.auth import keys, tokens
from chassis.auth.tokens import InvalidToken
from chassis.ops import env
from chassis.ops import settings as common
from chassis.ops.env import SettingError
from chassis.testing.forge import claims, signed
from chassis.testing.key_pairs import MAKERS, pair, private_pem, public_pem

SHARED = "shared-key-of-these-tests-0123456789-abcdef"
SAMPLE = ed25519.Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
SERVICE = {"aud": "tmservice-internal", "token_type": "service", "sub": "task_service"}


@pytest.fixture(params=MAKERS)
def private(request):
    return MAKERS[request.param]()


@pytest.fixture
def given(monkeypatch):
    """Sets a variable, and returns the value that the reader returns or its error."""

    def read(reader, name, value):
        monkeypatch.setenv(name, value)
        try:
            return reader(name)
        except SettingError as error:
            return str(error)

    return read


# Accepted input


def test_a_private_key_is_read_with_its_public_key(given, private):
    key = given(env.private_key, "JWT_PRIVATE_KEY", private_pem(private))

    assert key.public.material == private.public_key()
    assert (key.id, key.algorithm) == (key.public.id, key.public.algorithm)
    assert given(env.public_keys, "JWT_PUBLIC_KEYS", public_pem(private)) == [key.public]


def test_without_a_setting_there_is_no_key_pair():
    assert env.private_key("JWT_PRIVATE_KEY") is None
    assert env.public_keys("JWT_PUBLIC_KEYS") == []


def test_a_private_key_can_be_read_from_a_file(tmp_path, monkeypatch, private):
    file = tmp_path / "key.pem"
    file.write_text(private_pem(private))
    monkeypatch.setenv("JWT_PRIVATE_KEY_FILE", str(file))

    assert env.private_key("JWT_PRIVATE_KEY").public.material == private.public_key()


@pytest.mark.parametrize(
    "write", [str.strip, lambda pem: pem.replace("\n", "\\n"), lambda pem: pem.replace("\n", "\r\n")]
)
def test_line_breaks_may_be_escaped(given, private, write):
    key = given(env.private_key, "JWT_PRIVATE_KEY", write(private_pem(private)))

    assert given(env.public_keys, "JWT_PUBLIC_KEYS", write(public_pem(private))) == [key.public]


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_an_env_file_can_contain_a_key_in_one_line(tmp_path, given, private, quote):
    file = tmp_path / ".env"
    line = private_pem(private).strip().replace("\n", "\\n")
    file.write_text(f"JWT_PRIVATE_KEY={quote}{line}{quote}\n")

    key = given(env.private_key, "JWT_PRIVATE_KEY", env.read_dotenv(file)["JWT_PRIVATE_KEY"])

    assert key.public.material == private.public_key()


def test_a_public_key_is_written_as_it_was_read(private):
    key = keys.private_key(private_pem(private)).public

    assert key.to_pem() == public_pem(private)


def test_several_public_keys_may_follow_each_other(given):
    some = [make() for make in MAKERS.values()]

    for between in ("", "\n", ",", " , "):
        read = given(env.public_keys, "JWT_PUBLIC_KEYS", between.join(map(public_pem, some)))
        assert [key.algorithm for key in read] == list(MAKERS)


def test_a_key_is_named_by_its_thumbprint():
    """The example of RFC 8037 appendix A.3."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}

    assert keys.compute_thumbprint(members) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_jwk_contains_only_the_public_key(private):
    key = keys.private_key(private_pem(private)).public
    algorithm = jwt.get_algorithm_by_name(key.algorithm)

    assert key.to_jwk().keys() <= {"kty", "crv", "x", "y", "alg", "kid", "use"}
    assert algorithm.from_jwk(json.dumps(key.to_jwk())) == private.public_key()


# Rejected input


UNUSABLE_PRIVATE = {
    "no PEM": ("x" * 64, "is not in PEM format"),
    "an empty block": ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "is not a supported key in PEM"),
    "garbage": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "is not a supported key in PEM"),
    "cut off": (private_pem(ed25519.Ed25519PrivateKey.generate())[:-10], "is not in PEM format"),
    "text around it": ("key: " + private_pem(ed25519.Ed25519PrivateKey.generate()), "is not in PEM format"),
    "a public key": (
        public_pem(ed25519.Ed25519PrivateKey.generate()),
        "must be one PRIVATE KEY in PEM (PKCS#8), not PUBLIC",
    ),
    "two keys": (2 * private_pem(ed25519.Ed25519PrivateKey.generate()), "not several blocks"),
    "RSA": (private_pem(rsa.generate_private_key(65537, 2048)), "must be an Ed25519 or a P-256 key"),
    "P-384": (private_pem(ec.generate_private_key(ec.SECP384R1())), "must be an Ed25519 or a P-256 key"),
    "secp256k1": (private_pem(ec.generate_private_key(ec.SECP256K1())), "must be an Ed25519 or a P-256 key"),
    "Ed448": (private_pem(ed448.Ed448PrivateKey.generate()), "must be an Ed25519 or a P-256 key"),
    "X25519": (private_pem(x25519.X25519PrivateKey.generate()), "must be an Ed25519 or a P-256 key"),
    "SEC 1": (
        private_pem(ec.generate_private_key(ec.SECP256R1()), form=PrivateFormat.TraditionalOpenSSL),
        "not EC PRIVATE KEY",
    ),
    "encrypted": (
        private_pem(ed25519.Ed25519PrivateKey.generate(), encryption=BestAvailableEncryption(b"x")),
        "not ENCRYPTED PRIVATE KEY",
    ),
    "zeros": (private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))), "is too easy to guess"),
    "one": (private_pem(ec.derive_private_key(1, ec.SECP256R1())), "is too easy to guess"),
    "the sample of RFC 8037": (private_pem(SAMPLE), "is a sample key"),
}
UNUSABLE_PUBLIC = {
    "no PEM": ("x" * 64, "is not in PEM format"),
    "garbage": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "is not a supported key in PEM"),
    "a private key": (private_pem(ed25519.Ed25519PrivateKey.generate()), "blocks in PEM, not PRIVATE KEY"),
    "RSA": (public_pem(rsa.generate_private_key(65537, 2048)), "must be Ed25519 or P-256"),
    "DSA": (public_pem(dsa.generate_private_key(1024)), "must be Ed25519 or P-256"),
    "P-384": (public_pem(ec.generate_private_key(ec.SECP384R1())), "must be Ed25519 or P-256"),
    "a good one and a bad one": (
        public_pem(ed25519.Ed25519PrivateKey.generate()) + public_pem(rsa.generate_private_key(65537, 2048)),
        "must be Ed25519 or P-256",
    ),
    "the sample of RFC 8037": (public_pem(SAMPLE), "is a sample key"),
}


@pytest.mark.parametrize("name", UNUSABLE_PRIVATE)
def test_an_unusable_private_key_is_rejected_in_one_sentence(given, name):
    pem, sentence = UNUSABLE_PRIVATE[name]

    refusal = given(env.private_key, "JWT_PRIVATE_KEY", pem)

    assert refusal.startswith("JWT_PRIVATE_KEY ")
    assert sentence in refusal
    assert refusal.endswith("; generate one with: openssl genpkey -algorithm ed25519")
    assert not any(line in refusal for line in pem.splitlines()[1:-1])


@pytest.mark.parametrize("name", UNUSABLE_PUBLIC)
def test_an_unusable_public_key_is_rejected_in_one_sentence(given, name):
    pem, sentence = UNUSABLE_PUBLIC[name]

    refusal = given(env.public_keys, "JWT_PUBLIC_KEYS", pem)

    assert refusal.startswith("JWT_PUBLIC_KEYS ")
    assert sentence in refusal
    assert refusal.endswith("openssl pkey -in PRIVATE_KEY_FILE -pubout")


def test_public_keys_need_a_private_or_previous_key(monkeypatch):
    monkeypatch.setenv("JWT_PUBLIC_KEYS", public_pem(pair().material))

    with pytest.raises(SettingError, match="set without JWT_PRIVATE_KEY"):
        common.key_pair(signing_key=SHARED, previous=[])
    assert common.key_pair(signing_key=SHARED, previous=[SHARED]) == (None, [pair().public])


def test_the_public_key_is_listed_once_and_first(monkeypatch):
    next_key = pair("ES256", "next")
    monkeypatch.setenv("JWT_PRIVATE_KEY", private_pem(pair().material))
    monkeypatch.setenv("JWT_PUBLIC_KEYS", public_pem(next_key.material) + public_pem(pair().material))

    assert common.key_pair(signing_key=SHARED, previous=[])[1] == [pair().public, next_key.public]


def test_a_verifying_service_needs_public_keys(monkeypatch):
    monkeypatch.setenv("JWT_PRIVATE_KEY", private_pem(pair().material))

    with pytest.raises(SettingError, match="set without JWT_PUBLIC_KEYS"):
        common.public_keys()
    monkeypatch.setenv("JWT_PUBLIC_KEYS", public_pem(pair().material))
    assert common.public_keys() == [pair().public]


# Keys by token type


@pytest.fixture(params=MAKERS)
def key(request, settings):
    """The current key pair; this process signs with it, like the user service."""
    settings.JWT_PREVIOUS_SIGNING_KEYS = []
    settings.JWT_PRIVATE_KEY = pair(request.param)
    settings.JWT_PUBLIC_KEYS = [settings.JWT_PRIVATE_KEY.public]
    return settings.JWT_PRIVATE_KEY


def by(key, of, **header):
    """A token signed by a key pair, with any header."""
    return jwt.encode(of, key.material, algorithm=key.algorithm, headers={"kid": key.id} | header)


def refused(token):
    with pytest.raises(InvalidToken):
        tokens.verify_access(token)
    return True


def test_a_user_token_is_signed_by_the_private_key(key):
    token = tokens.sign(claims())

    assert jwt.get_unverified_header(token) == {"alg": key.algorithm, "kid": key.id, "typ": "JWT"}
    assert tokens.verify_access(token).id == 7


def test_a_service_token_is_signed_by_the_shared_key(key, settings):
    token = tokens.issue_service_token("task_service")

    assert jwt.get_unverified_header(token)["kid"] == keys.key_id(settings.JWT_SIGNING_KEY)
    assert tokens.verify_service(token).name == "task_service"


def test_with_a_key_pair_the_shared_key_signs_no_user_tokens(key):
    assert refused(signed(claims()))
    assert refused(signed(claims(), kid=key.id))


def test_the_private_key_does_not_sign_service_tokens(key):
    with pytest.raises(InvalidToken, match="not in use"):
        tokens.verify_service(by(key, claims(**SERVICE)))


def test_a_verifying_service_cannot_sign_user_tokens(key, settings):
    settings.JWT_PRIVATE_KEY = None  # as in the task service

    assert refused(tokens.sign(claims(role="admin")))


def test_a_previous_shared_key_verifies_old_tokens(key, settings):
    settings.JWT_PREVIOUS_SIGNING_KEYS = [settings.JWT_SIGNING_KEY]

    assert tokens.verify_access(signed(claims())).id == 7
    assert tokens.verify_access(tokens.sign(claims())).id == 7


def test_previous_and_next_keys_verify_while_they_are_listed(key, settings):
    other = pair(key.algorithm, "second")
    assert refused(by(other, claims()))

    settings.JWT_PUBLIC_KEYS = [key.public, other.public]

    assert tokens.verify_access(by(other, claims())).id == 7
    assert refused(by(other, claims(), kid=key.id))


def test_without_a_key_pair_its_signatures_are_rejected(key, settings):
    token = tokens.sign(claims())
    settings.JWT_PRIVATE_KEY, settings.JWT_PUBLIC_KEYS = None, []

    assert refused(token)


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "none", "RS256", "PS256", "ES384", "EdDSA", "ES256", "ES256K"])
def test_the_key_decides_the_algorithm_not_the_header(key, algorithm):
    for secret in (public_pem(key.material), key.id, ""):
        assert refused(signed(claims(), key=secret, kid=key.id, alg=algorithm))


def test_a_key_of_another_type_under_the_same_kid_is_rejected(key):
    other = pair(next(name for name in MAKERS if name != key.algorithm))

    assert refused(by(other, claims(), kid=key.id))
    assert refused(by(other, claims()))


@pytest.mark.parametrize("place", [0, 10, 40, -1])
def test_a_modified_signature_is_rejected(key, place):
    head, _, signature = tokens.sign(claims()).rpartition(".")
    changed = list(signature)
    changed[place] = "A" if changed[place] != "A" else "Q"

    assert refused(f"{head}.{''.join(changed)}")


def test_a_role_changed_without_signing_is_rejected(key):
    header, _, signature = tokens.sign(claims(role="user")).split(".")
    _, payload, _ = tokens.sign(claims(role="admin")).split(".")

    assert refused(f"{header}.{payload}.{signature}")
