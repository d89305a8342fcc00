from base64 import urlsafe_b64decode
from uuid import UUID

import jwt
import pytest

from chassis.auth import tokens
from chassis.auth.keys import key_id
from chassis.auth.tokens import Caller, InvalidToken, ServiceCaller
from chassis.testing.forge import MISSING, SESSION_KEY, base64, claims, signed
from chassis.tests.settings import JWT_PREVIOUS_SIGNING_KEYS, JWT_SIGNING_KEY

(PREVIOUS_KEY,) = JWT_PREVIOUS_SIGNING_KEYS
STRANGERS_KEY = "a-key-nobody-here-knows-0123456789-abcdef"
SERVICE = {"aud": "tmservice-internal", "token_type": "service", "sub": "task_service"}


def rejected(token, verify=tokens.verify_access, match=None):
    with pytest.raises(InvalidToken, match=match):
        verify(token)
    return True


def test_an_access_token_identifies_the_caller():
    caller = tokens.verify_access(signed(claims(sub="7", username="alice", role="admin", epoch=3, extra={"a": [1]})))

    assert caller == Caller(id=7, username="alice", role="admin", epoch=3, session_key=UUID(SESSION_KEY))
    assert caller.is_admin


def test_a_token_expires_although_its_signature_was_verified_before(monkeypatch):
    token = signed(claims())
    tokens.verify_access(token)

    monkeypatch.setattr(tokens.time, "time", lambda now=tokens.time.time: now() + tokens.LIFETIME_SECONDS["access"])

    assert rejected(token, match="expired")


def test_a_verified_token_is_rejected_once_its_key_is_gone(settings):
    token = signed(claims())
    tokens.verify_access(token)

    settings.JWT_SIGNING_KEY = STRANGERS_KEY

    assert rejected(token, match="key")


@pytest.mark.parametrize("id_", [9, 2**63 - 1])
def test_a_token_that_we_sign_is_valid(id_):
    assert tokens.verify_access(tokens.sign(claims(sub=str(id_)))).id == id_


@pytest.mark.parametrize(
    "options",
    [
        *({"alg": name} for name in ("none", "None", "nOnE", "HS384", "HS512", "RS256", "ES256", "", None, 1)),
        *({"alg": name, "digest": digest} for name, digest in (("HS384", "sha384"), ("HS512", "sha512"))),
        {"alg": "HS256", "digest": "sha512"},
        *(
            {"kid": kid}
            for kid in ("../../../../dev/null", "x' UNION SELECT 'key' --", "\0", "", "k" * 3_000, "\ud800")
        ),
        *({"kid": kid} for kid in (1, None, True, ["kid"], {"kid": 1}, MISSING)),
        *({"key": STRANGERS_KEY, name: "https://attacker.test/keys"} for name in ("jku", "x5u", "jwk", "x5c")),
        *({"key": key} for key in ("", "\0" * 32, "secret", STRANGERS_KEY)),
        *({"key": key, "kid": key_id(JWT_SIGNING_KEY)} for key in ("", "\0" * 32, "secret", STRANGERS_KEY)),
    ],
    ids=lambda options: ascii(options)[:40],
)
def test_a_token_signed_in_another_way_is_rejected(options):
    assert rejected(signed(claims(), **options))


def test_an_unsigned_token_is_rejected():
    headers = {"kid": key_id(JWT_SIGNING_KEY)}

    assert rejected(jwt.encode(claims(), None, algorithm="none", headers=headers))


@pytest.mark.parametrize("bit", [0, 1, 100, 255])
def test_a_flipped_bit_in_the_signature_is_rejected(bit):
    message, _, signature = signed(claims()).rpartition(".")
    flipped = int.from_bytes(urlsafe_b64decode(signature + "=")) ^ (1 << bit)

    assert rejected(f"{message}.{base64(flipped.to_bytes(32))}")


def test_a_role_changed_without_signing_is_rejected():
    header, _, signature = signed(claims(role="user")).split(".")
    _, payload, _ = signed(claims(role="admin")).split(".")

    assert rejected(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a", "a.b", "a.b.c", "e30.e30.e30", "é.é.é", "\0", "a" * 10_000]
)
def test_an_invalid_token_is_rejected(token):
    assert rejected(token)


@pytest.mark.parametrize("cut", [43, 42, 20, 1])
def test_a_missing_or_truncated_signature_is_rejected(cut):
    assert rejected(signed(claims())[:-cut])


def test_a_previous_key_verifies_until_it_is_removed(settings):
    token = signed(claims(sub="7"), key=PREVIOUS_KEY)
    assert tokens.verify_access(token).id == 7

    settings.JWT_PREVIOUS_SIGNING_KEYS = []

    assert rejected(token, match="key that is not in use")


def test_a_key_verifies_only_under_its_own_name():
    token = signed(claims(), key=PREVIOUS_KEY, kid=key_id(JWT_SIGNING_KEY))

    assert rejected(token, match="Signature verification failed")


@pytest.mark.parametrize(
    "changes",
    [
        *({name: MISSING} for name in ("iss", "aud", "sub", "jti", "token_type", "username", "role", "epoch")),
        *({"iss": value} for value in ("", "tmservice ", "elsewhere", None, ["tmservice"], {})),
        *({"aud": value} for value in ("", "tmservice-internal", "elsewhere", None, ["elsewhere"], {}, 1)),
        *({"token_type": value} for value in ("refresh", "service", "Access", "", None, ["access"], True)),
        *({"jti": value} for value in ("", "A" * 32, "0" * 31, "0" * 32 + "\n", 1, None, [])),
        *({"session": value} for value in ("", "A" * 32, "0" * 31, SESSION_KEY + "\n", "\u0661" * 32, 1, None, [])),
        *({"username": value} for value in (None, 1, ["alice"], {}, "\ud800", "a\0")),
        *({"role": value} for value in ("root", "Admin", "", None, True, ["admin"], {"admin": True})),
        *(
            {"exp": value}
            for value in (MISSING, "abc", "", float("inf"), float("nan"), 0, 1e30, 4e9 + 0.5, "4102444800")
        ),
        *({"iat": value} for value in (MISSING, "abc", "1700000000", 1.7e9, float("inf"))),
    ],
    ids=str,
)
def test_invalid_claims_are_rejected(changes):
    assert rejected(signed(claims(**changes)))


@pytest.mark.parametrize(
    "value",
    [
        *("abc", "", "0", "-1", "+1", "01", "1e5", "0x1", "1.0", " 1", "1\n", "\u0661", "1 or 1=1", "1\0", "\ud800"),
        *(str(2**63), "9" * 3_000, 7, 0, 7.0, True, False, [1], [], {}),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_an_id_has_one_spelling(value):
    assert rejected(signed(claims(sub=value)))
    assert rejected(signed(claims(**SERVICE, on_behalf_of=value)), tokens.verify_service)


def test_a_token_of_the_previous_version_has_no_session():
    assert tokens.verify_access(signed(claims(session=MISSING))).session_key is None


def payload(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_service_token_identifies_the_service_for_a_minute():
    first, second = (tokens.issue_service_token("task_service") for _ in range(2))

    assert tokens.verify_service(first) == ServiceCaller("task_service")
    assert payload(first)["exp"] - payload(first)["iat"] == 60
    assert payload(first)["jti"] != payload(second)["jti"]
    assert "on_behalf_of" not in payload(first)


@pytest.mark.parametrize("user_id", [7, 2**63 - 1])
def test_a_service_token_names_the_user_it_acts_for(user_id):
    token = tokens.issue_service_token("task_service", on_behalf_of=user_id)

    assert tokens.verify_service(token) == ServiceCaller("task_service", on_behalf_of=user_id)
    assert payload(token)["on_behalf_of"] == str(user_id)


@pytest.mark.parametrize("user_id", [None, 7])
def test_a_service_is_not_the_user_it_acts_for(user_id):
    assert rejected(tokens.issue_service_token("task_service", on_behalf_of=user_id))


@pytest.mark.parametrize(
    "changes",
    [
        *[{}, {"token_type": "refresh"}, {"role": "admin"}, {"aud": "tmservice-internal"}, {"token_type": "service"}],
        *[{**SERVICE, "aud": ["tmservice"]}, {**SERVICE, "exp": 1}, {**SERVICE, "sub": 7}],
    ],
    ids=str,
)
def test_a_user_token_is_rejected_as_a_service_token(changes):
    assert tokens.verify_service(signed(claims(**SERVICE))).name == "task_service"

    assert rejected(signed(claims(**changes)), tokens.verify_service)
