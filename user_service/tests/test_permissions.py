"""Checks the tables of docs/permissions.md: every route, with every kind of caller."""

import pytest

from accounts.models import EmailToken, Mail, PasswordToken, Session, User
from accounts.tokens import token_pair
from chassis.auth import tokens
from chassis.testing import permission_table
from chassis.testing.permission_table import ALL_METHODS, REFUSALS, as_head, response_content, rows_of_all_tables
from tests.conftest import Client

pytestmark = pytest.mark.django_db

TABLE = permission_table.table("## User service")
AS_ADMIN = permission_table.table("### Registering as an admin")
INVITING = permission_table.table("### With REGISTRATION=invite")
METHODS = permission_table.methods_by_route(TABLE)
CALLERS = {
    "anonymous": "client",
    "service token": "service",
    "deactivated": "igor",
    "demoted admin": "dora",
    "another user": "bob",
    "self": "alice",
    "admin": "ada",
}
MISSING = 900_001  # far beyond the sequences
NEW_PASSWORD = "nine purple umbrellas"
NORA = {"username": "Nora", "email": "nora@example.com"}
ACCOUNT = {"username": "Alicia", "email": "alicia@example.com", "role": "user", "is_active": True}


@pytest.fixture
def service():
    client = Client()
    client.set_tokens(tokens.issue_service_token("task_service", on_behalf_of=1))
    return client


@pytest.fixture
def igor(client_of, person):
    """Was active when he signed in."""
    account = person("Igor")
    signed_in = client_of(account)
    account.change(is_active=False)
    return signed_in


@pytest.fixture
def dora(client_of, person, ada):
    """Was an admin when she signed in."""
    account = person("Dora", role=User.Role.ADMIN)
    signed_in = client_of(account)
    account.change(role=User.Role.USER)
    return signed_in


@pytest.fixture
def alices_session(alice):
    return Session.objects.open(alice)


@pytest.fixture
def bodies(alice, alices_session, password):
    """The body of each call, created when it is needed."""
    own_refresh = {"refresh": token_pair(alices_session)["refresh"]}
    return {
        "POST /user/register/": lambda: {**NORA, "password": NEW_PASSWORD},
        "POST /token/": lambda: {"username": "Alice", "password": password},
        "POST /token/refresh/": lambda: own_refresh,
        "POST /token/verify/": lambda: {"token": own_refresh["refresh"]},
        "POST /token/logout/": lambda: own_refresh,
        "PATCH /user/me/": lambda: {"email": "changed@example.com", "current_password": password},
        "POST /user/email/confirm/": lambda: {"token": token_of_unconfirmed_email(alice)},
        "POST /user/me/password/": lambda: {"current_password": password, "new_password": NEW_PASSWORD},
        "POST /user/password-reset/": lambda: {"email": alice.email},
        "POST /user/password-reset/confirm/": lambda: {
            "token": PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET),
            "new_password": NEW_PASSWORD,
        },
        "POST /user/users/": lambda: NORA,
        "PUT /user/users/": lambda: {**ACCOUNT, "id": alice.pk},
        "PATCH /user/users/": lambda: {"role": "admin", "id": alice.pk},
        "DELETE /user/users/": lambda: {"id": alice.pk},
        "PUT /user/users/{id}/": lambda: ACCOUNT,
        "PATCH /user/users/{id}/": lambda: {"role": "admin"},
        "GET /internal/users/": lambda: {"ids": alice.pk},  # query parameters
    }


def token_of_unconfirmed_email(user):
    User.objects.update(email_confirmed=False)
    return EmailToken.objects.issue(user, user.email)


@pytest.fixture
def send(alice, alices_session, bodies):
    def send_one(client, call, *, id_=None, **more):
        of_anybody = call.replace("/user/users/{id}/sessions/", f"/user/users/{alice.pk}/sessions/")
        row = alices_session if "/sessions/" in of_anybody else alice
        body = {**bodies[call](), **more} if call in bodies else None
        return permission_table.send(client, of_anybody, id_=id_ or row.pk, body=body)

    return send_one


@pytest.fixture
def caller(request, client_of):
    def get_client(kind):
        found = request.getfixturevalue(CALLERS[kind])
        return client_of(found) if isinstance(found, User) else found

    return get_client


def test_the_table_has_every_route_and_no_other():
    assert set(TABLE) == permission_table.routed_calls()


def test_the_tables_have_every_kind_of_caller_and_no_other():
    assert {tuple(row) for row in (*TABLE.values(), *AS_ADMIN.values(), *INVITING.values())} == {tuple(CALLERS)}


@pytest.mark.parametrize(("call", "kind", "status"), permission_table.cells(TABLE))
def test_every_caller_gets_the_status_in_the_table(caller, send, call, kind, status):
    client = caller(kind)
    before = rows_of_all_tables()

    answer = send(client, call)

    assert answer.status_code == status
    if status in REFUSALS:
        assert rows_of_all_tables() == before
    if status == 404:
        assert response_content(answer) == response_content(send(client, call, id_=MISSING))
    if call.startswith("GET "):
        assert as_head(answer).status_code == status


@pytest.mark.parametrize(
    ("registration", "more", "call", "kind", "status"),
    [
        *(("open", {"role": "admin"}, *cell) for cell in permission_table.cells(AS_ADMIN)),
        *(("invite", {}, *cell) for cell in permission_table.cells(INVITING)),
    ],
)
def test_only_admins_use_restricted_registration(caller, send, settings, registration, more, call, kind, status):
    settings.REGISTRATION = registration
    client = caller(kind)
    before = rows_of_all_tables()

    answer = send(client, call, **more)

    assert answer.status_code == status
    assert (rows_of_all_tables() == before) == (status in REFUSALS)


@pytest.mark.parametrize("route", METHODS)
def test_an_unsupported_method_is_405(client, caller, send, route):
    users = permission_table.served_callers(TABLE, route)
    allowed = METHODS[route] | ({"HEAD"} if "GET" in METHODS[route] else set())
    one_of_them = caller(users[-1])
    before = rows_of_all_tables()

    for method in ALL_METHODS - METHODS[route]:
        answer = send(one_of_them, f"{method} {route}")

        assert answer.status_code == 405
        assert set(answer["Allow"].split(", ")) == allowed
        assert send(client, f"{method} {route}").status_code == (405 if "anonymous" in users else 401)
    assert rows_of_all_tables() == before
