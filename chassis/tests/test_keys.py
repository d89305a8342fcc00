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
from chassis.tests.settings import JWT_SIGNING_KEY

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


def test_a_private_key_is_read_with_its_public_key(given, private):
    key = given(env.private_key, "JWT_PRIVATE_KEY", private_pem(private))

    assert (key.public.material, key.public.to_pem()) == (private.public_key(), public_pem(private))
    assert (key.id, key.algorithm) == (key.public.id, key.public.algorithm)
    assert given(env.public_keys, "JWT_PUBLIC_KEYS", public_pem(private)) == [key.public]


def test_without_a_setting_there_is_no_key_pair():
    assert env.private_key("JWT_PRIVATE_KEY") is None
    assert env.public_keys("JWT_PUBLIC_KEYS") == []


@pytest.mark.parametrize(
    "write", [str.strip, lambda pem: pem.replace("\n", "\\n"), lambda pem: pem.replace("\n", "\r\n")]
)
def test_line_breaks_may_be_escaped(given, private, write):
    key = given(env.private_key, "JWT_PRIVATE_KEY", write(private_pem(private)))

    assert given(env.public_keys, "JWT_PUBLIC_KEYS", write(public_pem(private))) == [key.public]


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_an_env_file_can_contain_a_key_in_one_line(tmp_path, given, private, quote):
    line = private_pem(private).strip().replace("\n", "\\n")
    (tmp_path / ".env").write_text(f"JWT_PRIVATE_KEY={quote}{line}{quote}\n")

    key = given(env.private_key, "JWT_PRIVATE_KEY", env.read_dotenv(tmp_path / ".env")["JWT_PRIVATE_KEY"])

    assert key.public.material == private.public_key()


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


ED25519, RSA = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
NO_PEM, NO_KEY = "is not in PEM format", "is not a supported key in PEM"
OTHER_TYPE, OTHER_PUBLIC = "must be an Ed25519 or a P-256 key", "must be Ed25519 or P-256"
SEC_1 = private_pem(P256, form=PrivateFormat.TraditionalOpenSSL)
ENCRYPTED = private_pem(ED25519, encryption=BestAvailableEncryption(b"x"))
UNUSABLE_PRIVATE = {
    "no PEM": ("x" * 64, NO_PEM),
    "an empty block": ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", NO_KEY),
    "garbage": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", NO_KEY),
    "cut off": (private_pem(ED25519)[:-10], NO_PEM),
    "text around it": (f"key: {private_pem(ED25519)}", NO_PEM),
    "a public key": (public_pem(ED25519), "must be one PRIVATE KEY in PEM (PKCS#8), not PUBLIC"),
    "two keys": (2 * private_pem(ED25519), "not several blocks"),
    "RSA": (private_pem(RSA), OTHER_TYPE),
    "P-384": (private_pem(P384), OTHER_TYPE),
    "secp256k1": (private_pem(ec.generate_private_key(ec.SECP256K1())), OTHER_TYPE),
    "Ed448": (private_pem(ed448.Ed448PrivateKey.generate()), OTHER_TYPE),
    "X25519": (private_pem(x25519.X25519PrivateKey.generate()), OTHER_TYPE),
    "SEC 1": (SEC_1, "not EC PRIVATE KEY"),
    "encrypted": (ENCRYPTED, "not ENCRYPTED PRIVATE KEY"),
    "zeros": (private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))), "is too easy to guess"),
    "one": (private_pem(ec.derive_private_key(1, ec.SECP256R1())), "is too easy to guess"),
    "the sample of RFC 8037": (private_pem(SAMPLE), "is a sample key"),
}
UNUSABLE_PUBLIC = {
    "no PEM": ("x" * 64, NO_PEM),
    "garbage": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", NO_KEY),
    "a private key": (private_pem(ED25519), "blocks in PEM, not PRIVATE KEY"),
    "RSA": (public_pem(RSA), OTHER_PUBLIC),
    "DSA": (public_pem(dsa.generate_private_key(1024)), OTHER_PUBLIC),
    "P-384": (public_pem(P384), OTHER_PUBLIC),
    "a good one and a bad one": (public_pem(ED25519) + public_pem(RSA), OTHER_PUBLIC),
    "the sample of RFC 8037": (public_pem(SAMPLE), "is a sample key"),
}


@pytest.mark.parametrize(("pem", "sentence"), UNUSABLE_PRIVATE.values(), ids=UNUSABLE_PRIVATE)
def test_an_unusable_private_key_is_rejected_in_one_sentence(given, pem, sentence):
    refusal = given(env.private_key, "JWT_PRIVATE_KEY", pem)

    assert refusal.startswith("JWT_PRIVATE_KEY ")
    assert sentence in refusal
    assert refusal.endswith("; generate one with: openssl genpkey -algorithm ed25519")
    assert not any(line in refusal for line in pem.splitlines()[1:-1])


@pytest.mark.parametrize(("pem", "sentence"), UNUSABLE_PUBLIC.values(), ids=UNUSABLE_PUBLIC)
def test_an_unusable_public_key_is_rejected_in_one_sentence(given, pem, sentence):
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


def test_the_private_key_signs_user_tokens_alone(key, settings):
    of_user, of_service = tokens.sign(claims()), tokens.issue_service_token("task_service")

    assert jwt.get_unverified_header(of_user) == {"alg": key.algorithm, "kid": key.id, "typ": "JWT"}
    assert jwt.get_unverified_header(of_service)["kid"] == keys.key_id(settings.JWT_SIGNING_KEY)
    assert tokens.verify_access(of_user).id == 7
    assert tokens.verify_service(of_service).name == "task_service"
    with pytest.raises(InvalidToken, match="not in use"):
        tokens.verify_service(by(key, claims(**SERVICE)))
    assert refused(signed(claims()))


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


def test_without_the_private_key_nobody_signs_user_tokens(key, settings):
    token = tokens.sign(claims())
    settings.JWT_PRIVATE_KEY = None  # as in the task service
    assert refused(tokens.sign(claims(role="admin")))

    settings.JWT_PUBLIC_KEYS = []

    assert refused(token)


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "none", "RS256", "PS256", "ES384", "EdDSA", "ES256", "ES256K"])
def test_the_key_decides_the_algorithm_not_the_header(key, algorithm):
    for secret in (public_pem(key.material), key.id, "", JWT_SIGNING_KEY):
        assert refused(signed(claims(), key=secret, kid=key.id, alg=algorithm))


def test_a_key_of_another_type_under_the_same_kid_is_rejected(key):
    other = pair(next(name for name in MAKERS if name != key.algorithm))

    assert refused(by(other, claims(), kid=key.id))
    assert refused(by(other, claims()))
