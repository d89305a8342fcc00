"""Issued tokens match docs/tokens.md."""

import json
import re
from pathlib import Path

import jwt
import pytest

from chassis.auth import tokens
from chassis.auth.keys import key_id
from chassis.testing.key_pairs import MAKERS, pair

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tokens.md").read_text()


def example(kind):
    return json.loads(re.search(rf"```json {kind}\n(.*?)```", PAGE, re.DOTALL).group(1))


def decode_claims(token):
    return jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_an_issued_token_has_the_claims_of_the_contract(client_of, alice, kind):
    client = client_of(alice)
    claims = decode_claims({"access": client.access_token, "refresh": client.refresh_token}[kind])
    agreed = example(kind)

    assert {name: type(value) for name, value in claims.items()} == {
        name: type(value) for name, value in agreed.items()
    }
    for name in ("token_type", "iss", "aud"):
        assert claims[name] == agreed[name]
    assert claims["exp"] - claims["iat"] == agreed["exp"] - agreed["iat"]
    assert claims["sub"] == str(alice.pk)


def test_a_shared_key_is_named_as_in_the_contract(client_of, alice, settings):
    header = jwt.get_unverified_header(client_of(alice).access_token)

    assert header == {"alg": "HS256", "kid": key_id(settings.JWT_SIGNING_KEY), "typ": "JWT"}


@pytest.mark.parametrize("algorithm", MAKERS)
def test_a_key_pair_is_named_as_in_the_contract(client_of, alice, settings, algorithm):
    settings.JWT_PRIVATE_KEY = pair(algorithm)

    header = jwt.get_unverified_header(client_of(alice).access_token)

    assert header == {"alg": algorithm, "kid": pair(algorithm).id, "typ": "JWT"}


def test_a_service_token_as_in_the_contract_is_accepted(client, db):
    claims = example("service")
    lifetime = claims["exp"] - claims["iat"]
    now = decode_claims(tokens.issue_service_token("x"))["iat"]

    token = tokens.sign({**claims, "iat": now, "exp": now + lifetime})

    answer = client.get("/internal/users/?ids=1", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
