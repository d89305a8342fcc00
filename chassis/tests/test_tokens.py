import time
from base64 import urlsafe_b64decode
from uuid import UUID

import jwt
import pytest

from chassis.auth import tokens
from chassis.auth.keys import key_id
from chassis.auth.tokens import Caller, InvalidToken, ServiceCaller
from chassis.testing.forge import MISSING, SESSION_KEY, base64, claims, signed

PREVIOUS_KEY = "previous-key-of-the-tests-0123456789-abcdef"
STRANGERS_KEY = "a-key-nobody-here-knows-0123456789-abcdef"
SERVICE = {"aud": "tmservice-internal", "token_type": "service", "sub": "task_service"}


def in_seconds(seconds):
    return int(time.time()) + seconds


def test_an_access_token_identifies_the_caller():
    caller = tokens.verify_access(signed(claims(sub="7", username="alice", role="admin")))

    assert caller == Caller(id=7, username="alice", role="admin", epoch=0, session_key=UUID(SESSION_KEY))
    assert caller.is_admin


def test_a_token_that_we_sign_is_valid():
    assert tokens.verify_access(tokens.sign(claims(sub="9"))).id == 9


def test_the_largest_id_is_an_id():
    assert tokens.verify_access(signed(claims(sub=str(2**63 - 1)))).id == 2**63 - 1


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "", None, 1])
def test_other_algorithms_are_rejected_even_with_our_key(algorithm):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(), alg=algorithm))


@pytest.mark.parametrize(("algorithm", "digest"), [("HS384", "sha384"), ("HS512", "sha512"), ("HS256", "sha512")])
def test_other_hashes_are_rejected_even_with_the_right_key(algorithm, digest):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(), alg=algorithm, digest=digest))


def test_an_unsigned_token_is_rejected(settings):
    token = jwt.encode(claims(), None, algorithm="none", headers={"kid": key_id(settings.JWT_SIGNING_KEY)})

    with pytest.raises(InvalidToken):
        tokens.verify_access(token)


@pytest.mark.parametrize("key", ["", "\0" * 32, "secret", STRANGERS_KEY])
def test_a_signature_by_another_key_is_rejected_under_any_kid(key, settings):
    ours = key_id(settings.JWT_SIGNING_KEY)

    for kid in (key_id(key), ours):
        with pytest.raises(InvalidToken):
            tokens.verify_access(signed(claims(), key=key, kid=kid))


@pytest.mark.parametrize("bit", [0, 1, 100, 255])
def test_a_flipped_bit_in_the_signature_is_rejected(bit):
    message, _, signature = signed(claims()).rpartition(".")
    flipped = int.from_bytes(urlsafe_b64decode(signature + "=")) ^ (1 << bit)

    with pytest.raises(InvalidToken):
        tokens.verify_access(f"{message}.{base64(flipped.to_bytes(32))}")


def test_a_role_changed_without_signing_is_rejected():
    header, _, signature = signed(claims(role="user")).split(".")
    _, payload, _ = signed(claims(role="admin")).split(".")

    with pytest.raises(InvalidToken):
        tokens.verify_access(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("cut", [43, 42, 20, 1])
def test_a_missing_or_truncated_signature_is_rejected(cut):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims())[:-cut])


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a", "a.b", "a.b.c", "e30.e30.e30", "é.é.é", "\0", "a" * 10_000]
)
def test_an_invalid_token_is_rejected(token):
    with pytest.raises(InvalidToken):
        tokens.verify_access(token)


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "x' UNION SELECT 'key' --",
        "\0",
        "",
        "k" * 10_000,
        "\ud800",
        1,
        None,
        True,
        ["kid"],
        {"kid": 1},
        MISSING,
    ],
)
def test_an_odd_key_id_is_rejected(kid):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(), kid=kid))


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_a_key_embedded_in_the_token_is_not_used(name):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(), key=STRANGERS_KEY, **{name: "https://attacker.test/keys"}))


def test_a_token_of_the_previous_key_is_valid():
    assert tokens.verify_access(signed(claims(sub="7"), key=PREVIOUS_KEY)).id == 7


def test_a_token_of_a_removed_key_is_rejected(settings):
    settings.JWT_PREVIOUS_SIGNING_KEYS = []

    with pytest.raises(InvalidToken, match="key that is not in use"):
        tokens.verify_access(signed(claims(), key=PREVIOUS_KEY))


def test_a_key_verifies_only_under_its_own_name(settings):
    current = key_id(settings.JWT_SIGNING_KEY)

    with pytest.raises(InvalidToken, match="Signature verification failed"):
        tokens.verify_access(signed(claims(), key=PREVIOUS_KEY, kid=current))


@pytest.mark.parametrize(
    "exp",
    [MISSING, None, "abc", "", [], {}, float("inf"), float("nan"), True, -1, 0, 1e30, 4e9 + 0.5, "4102444800", 10**30],
)
def test_an_expiry_that_is_not_in_the_future_is_rejected(exp):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(exp=exp)))


def test_a_token_expired_a_second_ago_is_rejected():
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(iat=in_seconds(-301), exp=in_seconds(-1))))


@pytest.mark.parametrize("iat", [MISSING, None, "abc", "1700000000", [], {}, True, 1.7e9, float("inf"), 10**30])
def test_an_issue_time_that_is_not_a_number_is_rejected(iat):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(iat=iat)))


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
    ],
    ids=str,
)
def test_invalid_claims_are_rejected(changes):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(**changes)))


@pytest.mark.parametrize(
    "value",
    [
        *("abc", "", "0", "-1", "+1", "01", "1e5", "0x1", "1.0", " 1", "1\n", "\u0661", "1 or 1=1", "1\0", "\ud800"),
        *(str(2**63), "9" * 5_000, 7, 7.0, True, None, [1], {}, float("inf")),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_an_id_has_one_spelling(value):
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(sub=value)))


def test_a_token_of_the_previous_version_has_no_session():
    assert tokens.verify_access(signed(claims(session=MISSING))).session_key is None


def test_a_service_token_identifies_the_service():
    assert tokens.verify_service(tokens.issue_service_token("task_service")) == ServiceCaller("task_service")


def test_a_service_token_names_the_user_it_acts_for():
    for user_id in (7, 2**63 - 1):
        token = tokens.issue_service_token("task_service", on_behalf_of=user_id)

        assert tokens.verify_service(token) == ServiceCaller("task_service", on_behalf_of=user_id)
        assert jwt.decode(token, options={"verify_signature": False})["on_behalf_of"] == str(user_id)


def test_a_service_token_may_name_no_user():
    token = tokens.issue_service_token("task_service")

    assert tokens.verify_service(token).on_behalf_of is None
    assert "on_behalf_of" not in jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize(
    "value",
    ["", "0", "-1", "01", "1.0", " 7", "7\n", "\u0667", "alice", str(2**63), 7, 0, 7.0, True, False, [7], [], {}],
    ids=ascii,
)
def test_a_service_token_for_an_impossible_user_is_rejected(value):
    with pytest.raises(InvalidToken):
        tokens.verify_service(signed(claims(**SERVICE, on_behalf_of=value)))


def test_a_service_acting_for_a_user_is_not_that_user():
    with pytest.raises(InvalidToken):
        tokens.verify_access(tokens.issue_service_token("task_service", on_behalf_of=7))


def test_a_service_token_is_valid_for_a_minute():
    issued = jwt.decode(tokens.issue_service_token("task_service"), options={"verify_signature": False})

    assert issued["exp"] - issued["iat"] == 60


def test_each_service_token_has_its_own_id():
    issued = [
        jwt.decode(tokens.issue_service_token("task_service"), options={"verify_signature": False}) for _ in range(2)
    ]

    assert issued[0]["jti"] != issued[1]["jti"]


def test_a_service_token_is_401_on_user_routes():
    with pytest.raises(InvalidToken):
        tokens.verify_access(tokens.issue_service_token("task_service"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"token_type": "refresh"},
        {"role": "admin"},
        {"aud": "tmservice-internal"},
        {"token_type": "service"},
        {**SERVICE, "aud": ["tmservice"]},
        {**SERVICE, "exp": 1},
        {**SERVICE, "sub": 7},
    ],
    ids=str,
)
def test_a_user_token_is_rejected_as_a_service_token(changes):
    assert tokens.verify_service(signed(claims(**SERVICE))).name == "task_service"

    with pytest.raises(InvalidToken):
        tokens.verify_service(signed(claims(**changes)))


def test_unknown_claims_are_ignored():
    assert tokens.verify_access(signed(claims(epoch=3, extra={"a": [1]}))).id == 7
