"""The public keys that verify access tokens: GET /token/jwks/."""

import jwt
import pytest

from chassis.auth import tokens
from chassis.testing.key_pairs import MAKERS, pair

URL = "/token/jwks/"


@pytest.fixture(params=MAKERS)
def key(request, settings):
    settings.JWT_PRIVATE_KEY = pair(request.param)
    settings.JWT_PUBLIC_KEYS = [settings.JWT_PRIVATE_KEY.public, pair("EdDSA", "next").public]
    return settings.JWT_PRIVATE_KEY


@pytest.mark.django_db
def test_a_standard_library_verifies_a_token_with_it(client, client_of, alice, key):
    token = client_of(alice).access_token

    published = jwt.PyJWKSet.from_dict(client.get(URL).json())

    verifying = published[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, verifying, algorithms=[key.algorithm], audience="tmservice", issuer="tmservice")
    assert claims["sub"] == str(alice.pk)


def test_it_contains_only_public_keys(client, key):
    keys = client.get(URL).json()["keys"]

    assert [each["kid"] for each in keys] == [key.id, pair("EdDSA", "next").id]
    assert {name for each in keys for name in each} <= {"kty", "crv", "x", "y", "alg", "kid", "use"}
    assert {each["use"] for each in keys} == {"sig"}


def test_without_a_key_pair_it_is_empty(client, settings):
    answer = client.get(URL)

    assert answer.json() == {"keys": []}
    assert settings.JWT_SIGNING_KEY not in answer.content.decode()
    assert tokens.signing_key(tokens.AUDIENCE).id not in answer.content.decode()


def test_it_is_cacheable_and_not_rate_limited(client, key):
    answer = client.get(URL)

    assert answer["Cache-Control"] == "public, max-age=300"
    assert "RateLimit" not in answer.headers
    assert client.get(URL, headers={"If-None-Match": answer["ETag"]}).status_code == 304


def test_an_authorization_header_is_ignored(client):
    assert client.get(URL, headers={"Authorization": "Bearer left.over.token"}).status_code == 200
