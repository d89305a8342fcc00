import pytest

from accounts.models import User
from tests.conftest import field_errors, login_status

pytestmark = pytest.mark.django_db

URL = "/user/register/"
BARBARA = {"username": "Barbara", "email": "barbara@example.com", "password": "seven green bicycles"}


def test_registration_creates_a_user_who_can_sign_in(client):
    answer = client.post(URL, BARBARA)

    user = User.objects.get()
    assert answer.status_code == 201
    assert answer.json() == {
        "id": user.pk,
        "username": "Barbara",
        "email": "barbara@example.com",
        "role": "user",
        "is_active": True,
        "date_joined": user.date_joined.isoformat().replace("+00:00", "Z"),
        "invitation": None,
        "invited_at": None,
    }
    assert login_status(client, "Barbara", BARBARA["password"]) == 200


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u00a0", "\f", "\u2028"], ids=ascii)
def test_whitespace_around_username_and_email_is_trimmed(client, end):
    created = client.post(URL, {**BARBARA, "username": f"Barbara{end}", "email": f"{end}barbara@example.com{end}"})

    assert (created.json()["username"], created.json()["email"]) == ("Barbara", "barbara@example.com")
    assert login_status(client, f"barbara@example.com{end}", BARBARA["password"]) == 200


def test_whitespace_around_a_password_is_part_of_it(client):
    client.post(URL, {**BARBARA, "password": "  seven green bicycles  "})

    tried = ["  seven green bicycles  ", "seven green bicycles"]
    assert [login_status(client, "Barbara", each) for each in tried] == [200, 401]


@pytest.mark.parametrize("role", ["admin", "ADMIN"])
def test_an_anonymous_caller_cannot_register_an_admin(client, role):
    answer = client.post(URL, {**BARBARA, "role": role})

    assert answer.status_code == 403
    assert not User.objects.exists()


def test_an_admin_registers_an_admin(client_of, ada):
    answer = client_of(ada).post(URL, {**BARBARA, "role": "admin"})

    assert (answer.status_code, answer.json()["role"]) == (201, "admin")
    assert User.objects.get(username="Barbara").is_admin


@pytest.mark.parametrize("path", [URL, "/user/users/"])
@pytest.mark.parametrize("role", ["superuser", "", None, 1, True, ["admin"], {"role": "admin"}])
def test_an_unknown_role_is_refused(client_of, ada, path, role):
    answer = client_of(ada).post(path, {**BARBARA, "role": role})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "role")
    assert User.objects.get() == ada


@pytest.mark.parametrize("path", [URL, "/user/users/"])
@pytest.mark.parametrize(
    "name",
    ["is_staff", "is_superuser", "is_active", "id", "groups", "date_joined", "epoch", "email_key", "user.role", "kind"],
)
def test_an_unknown_field_is_refused(client_of, ada, path, name):
    answer = client_of(ada).post(path, {**BARBARA, name: 1})

    assert (answer.status_code, field_errors(answer)) == (400, [(name, "unknown_field")])
    assert User.objects.get() == ada


@pytest.mark.parametrize(
    ("path", "required"), [(URL, ["username", "email", "password"]), ("/user/users/", ["username", "email"])]
)
def test_a_required_field_cannot_be_omitted(client_of, ada, path, required):
    answer = client_of(ada).post(path, {})

    assert (answer.status_code, field_errors(answer)) == (400, [(name, "required") for name in required])


@pytest.mark.django_db(transaction=True)  # with the production hasher
def test_the_password_is_stored_as_one_small_argon2id_hash(client, hash_computations):
    client.post(URL, BARBARA)

    assert User.objects.get().password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_computations == ["encode"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("contested", ["username", "email"])
def test_one_of_eight_parallel_registrations_gets_the_name(client, at_once, contested):
    def registering(round_, number):
        values = {"username": f"Eve{round_}-{number}", "email": f"eve{round_}-{number}@example.com"}
        shared = f"Dora{round_}" if contested == "username" else f"dora{round_}@example.com"
        values[contested] = shared.upper() if number % 2 else shared
        return lambda: client.post(URL, {**BARBARA, **values}).status_code

    for round_ in range(3):
        statuses = at_once(*(registering(round_, number) for number in range(8)))

        assert sorted(statuses) == [201] + [409] * 7
        assert User.objects.count() == round_ + 1
