"""Passwords are hashed in threads of low priority, so that a storm of logins delays no other request."""

import os

import pytest
from argon2.exceptions import HashingError
from django.contrib.auth.hashers import Argon2PasswordHasher

from accounts.hashers import NICENESS, SmallArgon2PasswordHasher

PASSWORD, SALT = "correct horse battery", "0123456789abcdef"
LOWEST = 19


def priority():
    """Return the niceness of this thread."""
    return os.getpriority(os.PRIO_PROCESS, 0)


@pytest.fixture
def hasher():
    return SmallArgon2PasswordHasher()


def test_the_hash_is_that_of_django(hasher):
    encoded = hasher.encode(PASSWORD, SALT)

    assert encoded == Argon2PasswordHasher.encode(hasher, PASSWORD, SALT)
    assert hasher.verify(PASSWORD, encoded)
    assert not hasher.verify("another", encoded)


@pytest.mark.parametrize("method", ["encode", "verify"])
def test_only_the_hash_has_a_low_priority(hasher, monkeypatch, method):
    monkeypatch.setattr(Argon2PasswordHasher, method, lambda *_: priority())
    before = priority()

    assert getattr(hasher, method)(PASSWORD, SALT) == min(before + NICENESS, LOWEST)
    assert priority() == before


def test_an_error_reaches_the_caller(hasher):
    with pytest.raises(HashingError, match="too short"):
        hasher.encode(PASSWORD, "salt")
