"""Tokens: accepted formats and signing keys."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
from rest_framework.test import APIClient

from chassis.testing import forge
from chassis.testing.key_pairs import MAKERS, pair, private_pem

SERVICE = Path(__file__).resolve().parent.parent


@pytest.fixture
def status(alice):
    """Return the status of a request with a token."""
    return lambda token: APIClient().get("/task/tasks/", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.fixture
def signed(alice, settings):
    """Return a function that signs the claims of alice with the shared key, with changes of content or encoding."""

    def sign(write=json.dumps, *, header=None, **changes):
        claims = forge.claims(sub=str(alice.id), username=alice.username, **changes)
        return forge.signed(write(claims), key=settings.JWT_SIGNING_KEY, **header or {})

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
        lambda claims: json.dumps(claims).encode("utf-8-sig"),
        lambda claims: json.dumps(claims).encode("utf-16"),
        lambda claims: '{"role": "admin", ' + json.dumps(claims)[1:],
        lambda claims: json.dumps(claims | {"note": float("nan")}),
        lambda claims: json.dumps(claims | {"note": "x" * 4096}),
        lambda claims: json.dumps(claims | {"aud": ["tmservice"]}),
        lambda claims: json.dumps(claims | {"exp": claims["iat"] + 301}),
        lambda claims: json.dumps(claims | {"sub": "\u0661"}),
        lambda claims: json.dumps(claims | {"username": "\ud800"}),
    ],
)
def test_ambiguous_tokens_are_401(status, signed, write):
    assert status(signed(write)) == 401


def test_padding_and_critical_extensions_are_401(status, signed):
    assert status(signed() + "=") == 401
    assert status(signed(header={"crit": ["exp"]})) == 401


def test_half_a_minute_of_clock_difference_is_tolerated(status, signed):
    now = forge.claims()["iat"]

    assert status(signed(iat=now + 28, exp=now + 300)) == 200
    assert status(signed(iat=now + 60, exp=now + 300)) == 401


def test_with_a_key_pair_the_shared_key_is_not_accepted(status, signed, key, alice):
    claims = forge.claims(sub=str(alice.id), username=alice.username)
    token = jwt.encode(claims, key.material, algorithm=key.algorithm, headers={"kid": key.id})

    assert (status(token), status(signed())) == (200, 401)


def test_a_listed_shared_key_is_accepted_during_a_change(status, signed, key, settings):
    settings.JWT_PREVIOUS_SIGNING_KEYS = [settings.JWT_SIGNING_KEY]

    assert status(signed()) == 200


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"JWT_PUBLIC_KEYS": "nonsense"}, "JWT_PUBLIC_KEYS is not in PEM format; write the public key with: openssl"),
        ({"JWT_PUBLIC_KEYS": private_pem(pair().material)}, "JWT_PUBLIC_KEYS must contain only PUBLIC KEY"),
        ({"JWT_PRIVATE_KEY": private_pem(pair().material)}, "JWT_PRIVATE_KEY is set without JWT_PUBLIC_KEYS"),
    ],
)
def test_forbidden_keys_prevent_the_start(environment, sentence):
    argv = [sys.executable, "manage.py", "check"]

    done = subprocess.run(argv, cwd=SERVICE, env=os.environ | environment, capture_output=True, text=True, check=False)

    assert done.returncode == 78
    assert done.stderr.startswith(f"task_service: {sentence}")
    assert done.stderr.count("\n") == 1
