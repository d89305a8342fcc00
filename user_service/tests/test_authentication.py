import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest

pytestmark = pytest.mark.django_db

WRONG_KEY = "a-key-of-somebody-else-0123456789-abcdef"


def encoded(part):
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def jws(header, claims, key, digest=hashlib.sha256):
    """Return a signed token with any content: the libraries refuse to create most of these."""
    signed = encoded(header) + b"." + encoded(claims)
    return b".".join([signed, encoded(hmac.digest(key.encode(), signed, digest))]).decode()


def assert_refused(client, user, token):
    client.set_tokens(token)
    answer = client.get(f"/user/users/{user.pk}/")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


@pytest.fixture
def genuine(client_of, alice):
    """The header and claims of a valid access token of Alice."""
    token = client_of(alice).access_token
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def test_a_valid_token_is_accepted(client, alice, genuine, settings):
    client.set_tokens(jws(*genuine, settings.JWT_SIGNING_KEY))

    assert client.get(f"/user/users/{alice.pk}/").status_code == 200


def test_a_missing_token_is_401_with_a_challenge(client):
    answer = client.get("/user/users/")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tmservice"'


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer a b", "Basic QTpC", "Token {}", "{}", "Bearer {}, Bearer {}", "Bearer {}\u00e9"],
)
def test_a_malformed_authorization_header_is_refused(client_of, client, alice, header):
    token = client_of(alice).access_token

    answer = client.get(f"/user/users/{alice.pk}/", headers={"Authorization": header.format(token, token)})

    assert answer.status_code == 401


def test_the_scheme_may_be_written_in_any_case(client_of, client, alice):
    token = client_of(alice).access_token

    answer = client.get(f"/user/users/{alice.pk}/", headers={"Authorization": f"bearer {token}"})

    assert answer.status_code == 200


def test_a_token_in_the_query_is_ignored(client_of, client, alice):
    answer = client.get(f"/user/users/{alice.pk}/", {"access_token": client_of(alice).access_token})

    assert answer.status_code == 401


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None])
@pytest.mark.parametrize("signed", [True, False])
def test_an_unsigned_token_is_refused(client, alice, genuine, settings, alg, signed):
    header, claims = genuine
    token = jws({**header, "alg": alg}, claims, settings.JWT_SIGNING_KEY)

    assert_refused(client, alice, token if signed else token.rpartition(".")[0] + ".")


@pytest.mark.parametrize(
    ("alg", "digest"),
    [("HS384", hashlib.sha384), ("HS512", hashlib.sha512), ("RS256", hashlib.sha256), ("ES256", hashlib.sha256)],
)
def test_a_different_algorithm_is_refused(client, alice, genuine, settings, alg, digest):
    header, claims = genuine

    assert_refused(client, alice, jws({**header, "alg": alg}, claims, settings.JWT_SIGNING_KEY, digest))


def test_a_different_key_is_refused(client, alice, genuine):
    assert_refused(client, alice, jws(*genuine, WRONG_KEY))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.rpartition(".")[0],
        lambda token: token[:-6],
        lambda token: token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:],
        lambda token: "." + token,
        lambda token: token + ".x",
        lambda token: "..",
        lambda token: "x" * 100_000,
    ],
)
def test_a_damaged_token_is_refused(client, alice, genuine, settings, spoil):
    assert_refused(client, alice, spoil(jws(*genuine, settings.JWT_SIGNING_KEY)))


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "\0", "", 7, None, ["x"], {"x": 1}, "x" * 10_000])
def test_an_unknown_key_id_is_refused(client, alice, genuine, settings, kid):
    header, claims = genuine

    assert_refused(client, alice, jws({**header, "kid": kid}, claims, settings.JWT_SIGNING_KEY))


def test_a_role_edited_in_the_token_breaks_its_signature(client, alice, genuine, settings):
    header, claims = genuine
    good = jws(header, claims, settings.JWT_SIGNING_KEY).split(".")

    assert_refused(client, alice, ".".join([good[0], encoded({**claims, "role": "admin"}).decode(), good[2]]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", 1),
        ("exp", 0),
        ("exp", -1),
        ("exp", None),
        ("exp", "abc"),
        ("exp", "99999999999"),
        ("exp", []),
        ("exp", {}),
        ("exp", True),
        ("exp", 10**30 + 0.5),
        ("exp", float("inf")),
        ("exp", float("nan")),
        ("iat", None),
        ("iat", "1"),
        ("iat", 99999999999),
        ("nbf", 99999999999),
        ("jti", None),
        ("jti", 7),
        ("jti", "\0"),
        ("token_type", "refresh"),
        ("token_type", "service"),
        ("token_type", None),
        ("iss", "somebody-else"),
        ("iss", ["tmservice"]),
        ("aud", "tmservice-internal"),
        ("aud", []),
        ("aud", None),
        ("epoch", -1),
        ("epoch", True),
        ("epoch", "0"),
        ("role", "root"),
        ("role", ["admin"]),
        ("username", None),
        ("aud", ["tmservice"]),
        ("nbf", "1"),
        ("username", "\ud800"),
        *(
            ("sub", value)
            for value in (1, None, True, [1], {}, "", "abc", "0", "-1", "01", "1 or 1=1", "\u0661", "\0", str(2**63))
        ),
        *(("session", value) for value in (1, None, True, [1], {}, "", "abc", "1", "0" * 32, "\u0660" * 32, "\0" * 32)),
    ],
)
def test_an_invalid_claim_is_refused(client, alice, genuine, settings, name, value):
    header, claims = genuine

    assert_refused(client, alice, jws(header, {**claims, name: value}, settings.JWT_SIGNING_KEY))


@pytest.mark.parametrize(
    "name", ["exp", "iat", "jti", "sub", "iss", "aud", "token_type", "username", "role", "epoch", "session"]
)
def test_a_missing_claim_is_refused(client, alice, genuine, settings, name):
    header, claims = genuine
    del claims[name]

    assert_refused(client, alice, jws(header, claims, settings.JWT_SIGNING_KEY))


@pytest.mark.parametrize("claims", [b"[]", b"null", b"1", b"", b"\xff", b'{"exp":', b"[" * 2_000, b'{"a":' * 600])
def test_claims_must_be_an_object(client, alice, genuine, settings, claims):
    assert_refused(client, alice, jws(genuine[0], claims, settings.JWT_SIGNING_KEY))


def test_a_just_expired_token_is_refused(client, alice, genuine, settings):
    header, claims = genuine

    assert_refused(client, alice, jws(header, {**claims, "exp": int(time.time()) - 1}, settings.JWT_SIGNING_KEY))


def test_the_session_of_another_user_is_refused(client_of, client, alice, bob, genuine, settings):
    header, claims = genuine
    bobs = jwt.decode(client_of(bob).access_token, options={"verify_signature": False})

    assert_refused(client, alice, jws(header, {**claims, "session": bobs["session"]}, settings.JWT_SIGNING_KEY))


@pytest.mark.parametrize("spoil", [lambda text: b"\xef\xbb\xbf" + text, lambda text: b'{"sub": "1", ' + text[1:]])
def test_ambiguous_json_claims_are_refused(client, alice, genuine, settings, spoil):
    header, claims = genuine

    assert_refused(client, alice, jws(header, spoil(json.dumps(claims).encode()), settings.JWT_SIGNING_KEY))


def test_a_padded_or_overlong_token_is_refused(client, alice, genuine, settings):
    header, claims = genuine
    key = settings.JWT_SIGNING_KEY

    for token in (
        jws(header, claims, key) + "=",
        jws(header, {**claims, "note": "x" * 4096}, key),
        jws(header, {**claims, "exp": claims["iat"] + 301}, key),
        jws({**header, "crit": ["exp"]}, claims, key),
    ):
        assert_refused(client, alice, token)


def test_a_refresh_token_is_no_access_token(client_of, alice):
    client = client_of(alice)

    assert_refused(client, alice, client.refresh_token)


def test_the_role_comes_from_the_account_not_the_token(client, genuine, settings):
    header, claims = genuine
    client.set_tokens(jws(header, {**claims, "role": "admin"}, settings.JWT_SIGNING_KEY))

    answer = client.get("/user/users/")

    assert answer.status_code == 403


def test_a_deleted_account_is_refused_at_once(client_of, ada, alice):
    client = client_of(alice)
    client_of(ada).delete(f"/user/users/{alice.pk}/")

    assert_refused(client, alice, client.access_token)


def test_a_deactivated_account_is_refused_for_good(client_of, ada, alice):
    client, admin = client_of(alice), client_of(ada)

    admin.patch(f"/user/users/{alice.pk}/", {"is_active": False})
    assert_refused(client, alice, client.access_token)

    admin.patch(f"/user/users/{alice.pk}/", {"is_active": True})
    assert_refused(client, alice, client.access_token)


def test_a_demoted_admin_is_forbidden_at_once(client_of, ada, grace):
    client = client_of(grace)
    assert client.get("/user/users/").status_code == 200
    client_of(ada).patch(f"/user/users/{grace.pk}/", {"role": "user"})

    listing = client.get("/user/users/")
    writing = client.patch("/user/users/", {"id": grace.pk, "role": "admin"})

    assert (listing.status_code, writing.status_code) == (403, 403)


def test_a_promoted_user_is_an_admin_at_once(client_of, ada, alice):
    client = client_of(alice)
    client_of(ada).patch(f"/user/users/{alice.pk}/", {"role": "admin"})

    assert client.get("/user/users/").status_code == 200
