"""Tokens: accepted formats and signing keys. chassis tests every other way to forge one."""

import json

import jwt
import pytest
from rest_framework.test import APIClient

from chassis.testing import forge
from chassis.testing.key_pairs import MAKERS, pair, private_pem
from tests.deliveries import run


@pytest.fixture
def status(alice):
    """Return the status of a request with a token."""
    return lambda token: APIClient().get("/task/tasks/", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.fixture
def signed(alice, settings):
    """Return a function that signs the claims of alice with the shared key, after changing their JSON."""

    def sign(write=json.dumps):
        claims = forge.claims(sub=str(alice.id), username=alice.username)
        return forge.signed(write(claims), key=settings.JWT_SIGNING_KEY)

    return sign


@pytest.fixture(params=MAKERS)
def key(request, settings):
    """The user service signs with a key pair; this service has only the public key."""
    private = pair(request.param)
    settings.JWT_PUBLIC_KEYS = [private.public]
    return private


def test_it_works(status, signed):
    assert status(signed()) == 200


@pytest.mark.parametrize(
    "write",
    [
        lambda claims: json.dumps(claims).encode("utf-16"),
        lambda claims: '{"role": "admin", ' + json.dumps(claims)[1:],
        lambda claims: json.dumps(claims | {"exp": claims["iat"] + 301}),
        lambda claims: json.dumps(claims | {"sub": "\u0661"}),
        lambda claims: json.dumps(claims | {"username": "\ud800"}),
    ],
)
def test_ambiguous_tokens_are_401(status, signed, write):
    assert status(signed(write)) == 401


def test_with_a_key_pair_the_shared_key_is_not_accepted(status, signed, key, alice):
    claims = forge.claims(sub=str(alice.id), username=alice.username)
    token = jwt.encode(claims, key.material, algorithm=key.algorithm, headers={"kid": key.id})

    assert (status(token), status(signed())) == (200, 401)


@pytest.mark.django_db
def test_a_private_key_prevents_the_start():
    status, _, errors = run("manage.py", "check", JWT_PRIVATE_KEY=private_pem(pair().material))

    assert status == 78
    assert errors.startswith("task_service: JWT_PRIVATE_KEY is set without JWT_PUBLIC_KEYS")
    assert errors.count("\n") == 1
