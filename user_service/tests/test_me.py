import pytest

from accounts.authentication import AccountAuthentication
from accounts.models import User
from tests.conftest import NEW_PASSWORD, PASSWORD, field_errors

pytestmark = pytest.mark.django_db

URL = "/user/me/"


def test_callers_read_their_own_account(client_of, alice, bob):
    answer = client_of(alice).get(URL)

    assert answer.status_code == 200
    assert answer.json() == {
        "id": alice.pk,
        "username": "Alice",
        "email": "alice@example.com",
        "role": "user",
        "is_active": True,
        "date_joined": alice.date_joined.isoformat().replace("+00:00", "Z"),
        "email_confirmed": True,
        "pending_email": None,
    }
    assert client_of(bob).get(URL).json()["username"] == "Bob"


@pytest.mark.parametrize(
    ("change", "name", "pending"),
    [
        ({"username": "Alicia"}, "Alicia", None),
        ({"username": "ALICE"}, "ALICE", None),
        ({"email": "alicia@example.com"}, "Alice", "alicia@example.com"),
        ({"email": "Alice@Example.com"}, "Alice", "Alice@Example.com"),
        ({"username": "Alicia", "email": "alicia@example.com"}, "Alicia", "alicia@example.com"),
        ({}, "Alice", None),
    ],
)
def test_username_and_email_can_be_changed(client_of, alice, bob, password, change, name, pending):
    client = client_of(alice)
    before = client.get(URL).json()

    answer = client.patch(URL, {**change, "current_password": password})

    bob.refresh_from_db()
    assert (answer.status_code, answer.json()) == (200, {**before, "username": name, "pending_email": pending})
    assert client.get(URL).json() == answer.json()
    assert (bob.username, bob.email, bob.pending_email) == ("Bob", "bob@example.com", None)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("role", "admin", "read_only"),
        ("is_active", False, "read_only"),
        ("id", 1, "read_only"),
        ("date_joined", "2020-01-01T00:00:00Z", "read_only"),
        ("email_confirmed", False, "read_only"),
        ("pending_email", "alicia@example.com", "read_only"),
        ("password", "argon2$nothing", "unknown_field"),
        ("epoch", 7, "unknown_field"),
        ("is_superuser", True, "unknown_field"),
        ("username_key", "bob", "unknown_field"),
    ],
)
def test_users_cannot_change_their_own_privileges(client_of, alice, field, value, code):
    stored = User.objects.filter(pk=alice.pk).values()
    client, before = client_of(alice), stored.get()

    answer = client.patch(URL, {"username": "Alicia", field: value})

    assert (answer.status_code, field_errors(answer)) == (400, [(field, code)])
    assert stored.get() == before


@pytest.mark.parametrize("name", ["Alice", "admin"])
def test_a_read_account_can_be_sent_back(client_of, person, password, name):
    """The first admin is called "admin", a name that is reserved afterwards."""
    client = client_of(person(name))
    before = client.get(URL).json()

    answer = client.patch(URL, {**before, "email": "elsewhere@example.com", "current_password": password})

    assert (answer.status_code, answer.json()) == (200, {**before, "pending_email": "elsewhere@example.com"})


def test_a_query_parameter_is_refused(client_of, alice):
    answer = client_of(alice).get(URL, {"id": 1})

    assert (answer.status_code, field_errors(answer)) == (400, [("id", "unknown_parameter")])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", URL, None),
        ("patch", URL, {"username": "Alicia", "current_password": PASSWORD}),
        ("post", "/user/me/email-confirmation/", None),
        ("post", "/user/me/password/", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
        ("delete", "/user/me/sessions/1/", None),
        ("post", "/token/logout-all/", {}),
    ],
)
def test_a_racing_delete_is_404(client_of, alice, monkeypatch, method, path, body):
    resolve = AccountAuthentication.resolve

    def resolve_and_delete(self, token):
        resolved = resolve(self, token)
        User.objects.filter(pk=alice.pk).delete()
        return resolved

    client = client_of(alice)
    monkeypatch.setattr(AccountAuthentication, "resolve", resolve_and_delete)

    answer = getattr(client, method)(path, body)

    assert answer.status_code in (401, 404)
    assert not User.objects.exists()
