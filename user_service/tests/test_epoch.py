"""The epoch counts changes of rights. What each change does to it is in the feed: test_internal_changes.py."""

import jwt
import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def patch(client_of, ada, alice):
    """Changes Alice's account as an admin; returns its epochs."""
    client = client_of(ada)

    def send(**change):
        assert client.patch(f"/user/users/{alice.pk}/", change).status_code == 200
        return epochs(alice)

    return send


def epochs(user):
    return User.objects.values_list("epoch", "min_valid_epoch").get(pk=user.pk)


def claimed(token):
    return jwt.decode(token, options={"verify_signature": False}).get("epoch")


def test_a_new_role_keeps_earlier_tokens_valid(patch, bob, ada):
    assert [patch(role="admin"), patch(role="user")] == [(1, 0), (2, 0)]
    assert [epochs(bob), epochs(ada)] == [(0, 0)] * 2


def test_deactivation_revokes_earlier_tokens_for_good(patch):
    assert [patch(is_active=False), patch(is_active=True)] == [(1, 1), (2, 2)]


def test_tokens_carry_the_current_epoch(client_of, client, patch, alice, password):
    signed_in = client_of(alice)

    patch(role="admin")
    renewed = client.post("/token/refresh/", {"refresh": signed_in.refresh_token}).json()
    patch(role="user")
    new = client.post("/token/", {"username": "Alice", "password": password}).json()

    assert [claimed(token) for token in (signed_in.access_token, renewed["access"], new["access"])] == [0, 1, 2]
    assert claimed(renewed["refresh"]) is None


def test_the_epoch_is_not_in_public_responses(client_of, ada, alice):
    client = client_of(ada)

    answers = [client.get(path) for path in ("/user/me/", f"/user/users/{alice.pk}/", "/user/users/")]

    assert not [answer for answer in answers if "epoch" in answer.content.decode()]


@pytest.mark.django_db(transaction=True)
def test_parallel_changes_each_count(client_of, at_once, ada, alice):
    clients = [client_of(alice) for _ in range(3)]
    admin = client_of(ada)

    statuses = at_once(
        *(lambda client=client: client.post("/token/logout-all/").status_code for client in clients),
        lambda: admin.patch(f"/user/users/{alice.pk}/", {"role": "admin"}).status_code,
        queued_at=alice,
    )

    assert statuses == [204, 204, 204, 200]
    assert epochs(alice)[0] == 4
