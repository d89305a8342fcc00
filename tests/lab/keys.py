"""Fault: rotation of the signing key under load."""

import secrets
import time

import jwt

from chassis.auth.keys import key_id
from tests.lab.client import Client
from tests.lab.trial import Trial

REFRESHED_WITHIN_SECONDS = 10


def rotate(trial: Trial) -> str:
    """Rotate as in docs/tokens.md: both services accept the new key before it signs."""
    scene = trial.scene
    old = scene.settings.get("JWT_SIGNING_KEY") or scene.state.secrets()["JWT_SIGNING_KEY"]
    new = secrets.token_urlsafe(48)
    scene.restart(JWT_SIGNING_KEY=old, JWT_PREVIOUS_SIGNING_KEYS=new)
    trial.prober.sign_in()
    scene.restart(JWT_SIGNING_KEY=new, JWT_PREVIOUS_SIGNING_KEYS=old)
    trial.expect(signing_key_id(trial.prober) == key_id(old), "the token to be kept was not signed with the old key")
    expect_both(trial, expected=200, what="a token signed with the previous key")
    wait_until_refreshed(trial, key_id(new))
    scene.restart(JWT_SIGNING_KEY=new, JWT_PREVIOUS_SIGNING_KEYS="")
    expect_both(trial, expected=401, what="a token signed with the removed key")
    return "1 new key by 3 restarts"


def signing_key_id(client: Client) -> str:
    return str(jwt.get_unverified_header(client.tokens["access"])["kid"])


def expect_both(trial: Trial, *, expected: int, what: str) -> None:
    for path in ("/user/me/", "/task/tasks/"):
        status = trial.prober.ask("GET", path).status
        trial.expect(status == expected, f"GET {path} with {what} got {status}, not {expected}")


def wait_until_refreshed(trial: Trial, key: str) -> None:
    deadline = time.monotonic() + REFRESHED_WITHIN_SECONDS * trial.patience
    while {signing_key_id(user.client) for user in trial.load.users} != {key}:
        if time.monotonic() > deadline:
            trial.found.append(f"not everyone had a token of the new key after {REFRESHED_WITHIN_SECONDS} s")
            return
        time.sleep(0.05)
