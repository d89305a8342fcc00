"""With a private key in .env, the user service signs with it and the task service verifies with the public key."""

import time

import jwt
import pytest

from chassis.auth.keys import shared_key
from chassis.testing.key_pairs import MAKERS, pair, private_pem
from tests.local_stack import LocalStack


@pytest.fixture(scope="module")
def key():
    return pair(next(iter(MAKERS)))  # the services' tests use each algorithm


@pytest.fixture(scope="module")
def signing(key, tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / ".env"
    line = private_pem(key.material).strip().replace("\n", "\\n")
    file.write_text(f'JWT_PRIVATE_KEY="{line}"\n')
    running = LocalStack()
    try:
        running.start(TMSERVICE_ENV_FILE=str(file))
        yield running
    finally:
        running.remove()


def forged(stack, claims):
    secret = stack.state.secrets()["JWT_SIGNING_KEY"]
    signed_with = shared_key(secret)
    return jwt.encode(claims, secret, algorithm=signed_with.algorithm, headers={"kid": signed_with.id})


def test_users_work_as_with_a_shared_key(signing, key):
    admin = signing.admin_token()
    alice_id = signing.register("alice")
    alice = signing.token("alice")

    made = signing.call("POST", "/task/tasks/", token=admin, json={"title": "Call", "assigned_to": alice_id})
    read = signing.call("GET", f"/task/tasks/{made.json()['id']}/", token=alice)

    assert (made.status_code, read.status_code, read.json()["title"]) == (201, 200, "Call")
    assert jwt.get_unverified_header(alice)["kid"] == key.id
    (published,) = signing.call("GET", "/token/jwks/").json()["keys"]
    assert published == key.public.to_jwk()


def test_the_task_service_cannot_sign_tokens(signing):
    claims = jwt.decode(signing.admin_token(), options={"verify_signature": False})
    now = int(time.time())

    token = forged(signing, {**claims, "iat": now, "exp": now + 300})

    assert [signing.call("GET", path, token=token).status_code for path in ("/user/me/", "/task/tasks/")] == [401, 401]


def test_the_task_service_does_not_get_the_private_key(signing):
    programs = signing.programs()

    for name in ("task-service", "task-worker"):
        assert programs[name]["environment"]["JWT_PRIVATE_KEY"] == ""
