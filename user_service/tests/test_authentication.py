"""Which access tokens a route accepts. chassis tests the form and claims of tokens."""

import pytest

from chassis.testing.forge import MISSING, read_claims, signed
from tests.conftest import statuses

pytestmark = pytest.mark.django_db

ME = "/user/me/"
WRONG_KEY = "a-key-of-somebody-else-0123456789-abcdef"


@pytest.fixture
def forge(client_of, alice, settings):
    """Signs the claims of a valid access token of Alice, with changes."""
    genuine = read_claims(client_of(alice).access_token)

    def sign(key=settings.JWT_SIGNING_KEY, *, header=None, **changes):
        claims = {name: value for name, value in (genuine | changes).items() if value is not MISSING}
        return signed(claims, key=key, **header or {})

    return sign


@pytest.fixture
def read_me(client):
    def get(token):
        client.set_tokens(token)
        answer = client.get(ME)
        return answer.status_code, answer.json().get("code")

    return get


REFUSED = (401, "token_invalid")


def test_a_valid_token_is_accepted(read_me, forge):
    assert read_me(forge()) == (200, None)


def test_a_missing_token_is_401_with_a_challenge(client):
    answer = client.get(ME)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tmservice"'


def test_a_token_in_the_query_is_ignored(client, forge):
    assert client.get(ME, {"access_token": forge()}).status_code == 401


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "HS384"}, {"alg": "RS256"}, {"kid": "' OR 1=1 --"}, {"kid": MISSING}], ids=repr
)
def test_an_odd_header_is_refused(read_me, forge, header):
    assert read_me(forge(header=header)) == REFUSED


def test_a_different_key_is_refused(read_me, forge):
    assert read_me(forge(WRONG_KEY)) == REFUSED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("exp", value) for value in (1, None, "99999999999", 10**30 + 0.5, float("nan"))),
        *(("iat", 99999999999), ("nbf", 99999999999), ("jti", "\0"), ("iss", "somebody-else"), ("aud", ["tmservice"])),
        *(
            ("token_type", "refresh"),
            ("token_type", "service"),
            ("epoch", -1),
            ("role", "root"),
            ("username", "\ud800"),
        ),
        *(("sub", value) for value in (MISSING, None, 1, "0", "01", "\u0661", "\0", str(2**63))),
        *(("session", value) for value in (MISSING, None, 1, "", "abc", "0" * 32, "\u0660" * 32, "\0" * 32)),
    ],
)
def test_an_invalid_claim_is_refused(read_me, forge, name, value):
    assert read_me(forge(**{name: value})) == REFUSED


def test_the_session_of_another_user_is_refused(client_of, bob, read_me, forge):
    bobs_session = read_claims(client_of(bob).access_token)["session"]

    assert read_me(forge(session=bobs_session)) == REFUSED


def test_a_refresh_token_is_no_access_token(client_of, alice, read_me):
    assert read_me(client_of(alice).refresh_token) == REFUSED


def test_the_role_comes_from_the_account_not_the_token(client, forge):
    client.set_tokens(forge(role="admin"))

    assert client.get("/user/users/").status_code == 403


def test_a_changed_role_holds_at_once(client_of, ada, alice):
    client = client_of(alice)

    alice.change(role="admin")
    promoted = client.get("/user/users/")
    alice.change(role="user")
    demoted = [client.get("/user/users/"), client.patch("/user/users/", {"id": alice.pk, "role": "admin"})]

    assert statuses([promoted, *demoted]) == [200, 403, 403]
