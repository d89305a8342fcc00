import jwt
import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def patch(client_of, ada, alice):
    client = client_of(ada)

    def send(**change):
        assert client.patch(f"/user/users/{alice.pk}/", change).status_code == 200
        return get_epoch(alice)

    return send


def get_epoch(user):
    return User.objects.get(pk=user.pk).epoch


def claimed(token):
    return jwt.decode(token, options={"verify_signature": False}).get("epoch")


def test_the_epoch_starts_at_zero(client, client_of):
    body = {"username": "Zoe", "email": "zoe@example.com", "password": "nine orange lanterns"}
    client.post("/user/register/", body)

    user = User.objects.get()
    assert (user.epoch, claimed(client_of(user).access_token)) == (0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "admin"},
        {"is_active": False},
        {"role": "admin", "is_active": False},
        {"role": "admin", "email": "a@b.example"},
    ],
)
def test_a_new_role_or_status_increments_it(patch, change):
    assert patch(**change) == 1


def test_a_change_and_its_reversal_count_twice(patch):
    assert [patch(role="admin"), patch(role="user"), patch(is_active=False), patch(is_active=True)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"username": "Alicia"},
        {"email": "alicia@example.com"},
        {"role": "user"},
        {"is_active": True},
        {"username": "Alice", "email": "alice@example.com", "role": "user", "is_active": True},
        {"username": "Alicia", "role": "user"},
    ],
)
def test_other_changes_do_not_increment_it(patch, change):
    assert patch(**change) == 0


def test_a_password_change_or_global_logout_increments_it(client_of, alice):
    client = client_of(alice)

    seen = []
    client.patch("/user/me/", {"username": "Alicia", "current_password": "seven green bicycles"})
    seen.append(get_epoch(alice))
    client.post(
        "/user/me/password/", {"current_password": "seven green bicycles", "new_password": "nine orange lanterns"}
    )
    seen.append(get_epoch(alice))
    client.post("/token/logout-all/")
    seen.append(get_epoch(alice))

    assert seen == [0, 1, 2]


@pytest.mark.parametrize("path", ["/token/logout/", "/token/refresh/"])
def test_ending_one_session_does_not_increment_it(client_of, alice, path):
    client = client_of(alice)

    client.post(path, {"refresh": client.refresh_token})

    assert get_epoch(alice) == 0


def test_sign_ins_do_not_increment_it(client, alice, password):
    for tried in (password, "eight green bicycles"):
        client.post("/token/", {"username": "Alice", "password": tried})

    assert get_epoch(alice) == 0


def test_other_accounts_are_unaffected(patch, bob, ada):
    patch(role="admin")

    assert (get_epoch(bob), get_epoch(ada)) == (0, 0)


def test_a_refused_change_does_not_increment_it(client_of, ada):
    client = client_of(ada)

    statuses = [
        client.patch(f"/user/users/{ada.pk}/", change).status_code
        for change in ({"role": "user"}, {"is_active": False})
    ]

    assert (statuses, get_epoch(ada)) == ([409, 409], 0)


def test_a_refreshed_token_carries_the_current_epoch(client_of, client, patch, alice):
    signed_in = client_of(alice)

    patch(role="admin")
    renewed = client.post("/token/refresh/", {"refresh": signed_in.refresh_token}).json()

    assert (claimed(signed_in.access_token), claimed(renewed["access"])) == (0, 1)
    assert claimed(renewed["refresh"]) is None


def test_a_sign_in_token_carries_the_current_epoch(client, patch, password):
    patch(role="admin")
    patch(role="user")

    answer = client.post("/token/", {"username": "Alice", "password": password})

    assert claimed(answer.json()["access"]) == 2


def test_the_epoch_is_not_in_public_responses(client_of, ada, alice):
    client = client_of(ada)

    answers = [client.get(path) for path in ("/user/me/", f"/user/users/{alice.pk}/", "/user/users/")]

    assert not [answer for answer in answers if "epoch" in answer.content.decode()]


@pytest.mark.django_db(transaction=True)
def test_eight_parallel_changes_each_count(client_of, at_once, ada, alice):
    clients = [client_of(alice) for _ in range(3)]
    admin = client_of(ada)

    statuses = at_once(
        *(lambda client=client: client.post("/token/logout-all/").status_code for client in clients),
        lambda: admin.patch(f"/user/users/{alice.pk}/", {"role": "admin"}).status_code,
        queued_at=alice,
    )

    assert statuses == [204, 204, 204, 200]
    assert get_epoch(alice) == 4


def get_least_epoch(user):
    return User.objects.get(pk=user.pk).least_epoch


def test_a_new_role_keeps_earlier_tokens_valid(patch, alice):
    patch(role="admin")

    assert (get_epoch(alice), get_least_epoch(alice)) == (1, 0)


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_active": False, "role": "admin"}])
def test_deactivation_revokes_earlier_tokens_for_good(patch, alice, change):
    patch(**change)
    patch(is_active=True)

    assert get_least_epoch(alice) == get_epoch(alice) == 2


def test_a_new_password_or_global_logout_revokes_earlier_tokens(client_of, alice):
    client = client_of(alice)

    body = {"current_password": "seven green bicycles", "new_password": "nine orange lanterns"}
    assert client.post("/user/me/password/", body).status_code == 204
    assert get_least_epoch(alice) == get_epoch(alice) == 1
    assert client.post("/token/logout-all/").status_code == 204
    assert get_least_epoch(alice) == get_epoch(alice) == 2
