"""The service accepts and sends tokens as docs/tokens.md says."""

import json
import re
import time
from pathlib import Path

import jwt
import pytest
from rest_framework.test import APIClient

from chassis.auth import tokens
from tests.conftest import Person, add_to_directory

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tokens.md").read_text()


def example(kind):
    """Return the example of the contract as if issued now."""
    claims = json.loads(re.search(rf"```json {kind}\n(.*?)```", PAGE, re.DOTALL).group(1))
    now = int(time.time())
    return {**claims, "iat": now, "exp": now + claims["exp"] - claims["iat"]}


def status_with(claims):
    key = tokens.signing_key(tokens.AUDIENCE)
    token = jwt.encode(claims, key.material, algorithm=key.algorithm, headers={"kid": key.id})
    return APIClient().get("/task/tasks/", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.mark.django_db
def test_an_access_token_from_the_contract_is_accepted(directory):
    claims = example("access")
    add_to_directory(Person(int(claims["sub"]), claims["username"], role=claims["role"]), epoch=claims["epoch"])

    assert status_with(example("access")) == 200


UNCHECKED_CLAIMS = {"session", "sid"}  # used by the user service only


@pytest.mark.parametrize("claim", sorted(example("access").keys() - UNCHECKED_CLAIMS))
def test_each_claim_of_an_access_token_is_required(claim):
    claims = example("access")
    del claims[claim]

    assert status_with(claims) == 401


@pytest.mark.parametrize("kind", ["refresh", "service"])
def test_no_other_token_is_accepted(kind):
    assert status_with(example(kind) | {"username": "alice", "role": "admin", "epoch": 0, "sid": "12"}) == 401


def test_the_service_token_matches_the_contract():
    sent = jwt.decode(tokens.issue_service_token("task_service", on_behalf_of=7), options={"verify_signature": False})
    agreed = example("service")

    assert sent["exp"] - sent["iat"] == agreed["exp"] - agreed["iat"]
    volatile = dict.fromkeys(("iat", "exp", "jti"))
    assert sent | volatile == agreed | volatile
