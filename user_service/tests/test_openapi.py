"""The OpenAPI document of the user service and its pages."""

import pytest

from accounts import serializers, token_serializers
from accounts.models import EmailToken, Mail, PasswordToken, Session, User
from accounts.tokens import token_pair
from chassis.api.serializers import StrictSerializer
from chassis.testing import openapi_pages, permission_table
from chassis.testing.openapi_document import Document
from chassis.testing.openapi_pages import invalid_samples, samples, views_by_route
from config.urls import DOCUMENTATION

pytestmark = pytest.mark.django_db

DOCUMENT = Document(DOCUMENTATION)
QUERIES = [(call, name) for call in DOCUMENT.operations for name in DOCUMENT.parameters(call, "query")]
WITH_BODY = [call for call in DOCUMENT.operations if DOCUMENT.parameters(call, "body")]
ACCOUNT = {
    "id": "integer int64",
    "username": "string",
    "email": "string email",
    "role": "string",
    "is_active": "boolean",
    "date_joined": "string date-time",
}
OWN_ACCOUNT = {**ACCOUNT, "email_confirmed": "boolean", "pending_email": "string email"}
ANY_ACCOUNT = {**ACCOUNT, "invitation": "string", "invited_at": "string date-time"}
NEW_ACCOUNT = {"username": "string", "email": "string email", "password": "string password", "role": "string"}
TYPES = {
    "User": ANY_ACCOUNT,
    "OwnAccount": OWN_ACCOUNT,
    "EmailToken": {"token": "string"},
    "Session": {
        "id": "integer int64",
        "created_at": "string date-time",
        "last_used_at": "string date-time",
        "user_agent": "string",
        "address": "string",
        "current": "boolean",
    },
    "AuditEvent": {
        "id": "integer int64",
        "at": "string date-time",
        "event": "string",
        "actor": "object",
        "subject": "object",
        "address": "string",
        "details": "object",
        "request_id": "string",
    },
    "Tokens": {"access": "string", "refresh": "string"},
    "Registration": NEW_ACCOUNT,
    "NewUser": NEW_ACCOUNT,
    "Credentials": {"username": "string", "password": "string password"},
    "Refresh": {"refresh": "string"},
    "Token": {"token": "string"},
    "Email": {"email": "string email"},
    "Confirm": {"token": "string", "new_password": "string password"},
    "PasswordChange": {"current_password": "string password", "new_password": "string password"},
    "RowIdOnly": {"id": "integer int64"},
    **dict.fromkeys(["UserPut", "UserPatch", "UserPutById", "UserPatchById"], ANY_ACCOUNT),
    "OwnAccountPatch": {**OWN_ACCOUNT, "current_password": "string password"},
}
REQUIRED = {
    "Registration": {"username", "email", "password"},
    "NewUser": {"username", "email"},
    "UserPut": {"username", "email", "role"},
    "UserPutById": {"id", "username", "email", "role"},
    "UserPatch": set(),
    "UserPatchById": {"id"},
    "OwnAccountPatch": set(),
    "Credentials": {"username", "password"},
    "RowIdOnly": {"id"},
}
PUBLIC = {
    *("POST /token/", "POST /token/refresh/", "POST /token/verify/", "POST /token/logout/"),
    "GET /token/jwks/",
    *("POST /user/password-reset/", "POST /user/password-reset/confirm/"),
    "POST /user/email/confirm/",
}


def types(definition):
    properties = DOCUMENT.spec["definitions"][definition]["properties"]
    return {name: " ".join(filter(None, (each["type"], each.get("format")))) for name, each in properties.items()}


def read_only(definition):
    properties = DOCUMENT.spec["definitions"][definition]["properties"]
    return {name for name, schema in properties.items() if schema.get("readOnly")}


def test_the_document_is_valid_swagger():
    DOCUMENT.assert_valid()


def test_the_document_has_all_routes_and_no_others():
    openapi_pages.assert_complete(DOCUMENT)


def test_everything_has_a_description():
    openapi_pages.assert_everything_is_described(DOCUMENT)


def test_every_example_matches_its_schema():
    assert list(openapi_pages.wrong_examples(DOCUMENT)) == []


def test_every_response_with_a_body_has_an_example():
    assert openapi_pages.answers_without_examples(DOCUMENT) == []


@pytest.mark.parametrize(
    "check",
    [
        openapi_pages.assert_loads_nothing_from_elsewhere,
        openapi_pages.assert_policy_is_narrow,
        openapi_pages.assert_pages_ask_for_the_document_alone,
    ],
)
def test_the_pages_only_use_their_own_files_and_document(client, check):
    check(client, "user")


def test_the_document_is_served_as_json_and_yaml(client):
    openapi_pages.assert_document_is_served(client, "user", DOCUMENT)


def test_the_query_parameters_are_those_of_the_views():
    openapi_pages.assert_parameters_are_known(DOCUMENT, views_by_route())


def test_definitions_have_exactly_their_fields_and_types():
    by_hand = {"KeySet", "Nothing", "Problem", "StaleProblem", "UserPage", "SessionPage", "AuditEventPage"}

    assert {name: types(name) for name in DOCUMENT.spec["definitions"].keys() - by_hand} == TYPES


def test_every_public_serializer_is_documented():
    defined = [
        each
        for module in (serializers, token_serializers)
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
    ]
    strict = {each.__name__.removesuffix("Serializer") for each in defined if issubclass(each, StrictSerializer)}

    # The first is a base; the second has the same field as RefreshSerializer and is documented as that.
    assert strict - {"NewAccount", "SignOut"} <= DOCUMENT.spec["definitions"].keys()


@pytest.mark.parametrize("definition", REQUIRED)
def test_a_body_lists_required_fields_and_allows_no_others(definition):
    schema = DOCUMENT.spec["definitions"][definition]

    assert set(schema.get("required", [])) == REQUIRED[definition]
    assert schema["additionalProperties"] is False


def test_fields_set_by_the_server_are_read_only():
    by_the_server = {"date_joined", "invitation", "invited_at"}
    assert read_only("UserPut") == read_only("UserPatch") == {"id", *by_the_server}
    assert read_only("UserPutById") == by_the_server
    own = {"id", "date_joined", "role", "is_active", "email_confirmed", "pending_email"}
    assert read_only("OwnAccountPatch") == own


@pytest.mark.parametrize(("call", "name"), QUERIES)
def test_a_query_parameter_accepts_documented_values(client_of, ada, call, name):
    client, parameter = client_of(ada), DOCUMENT.parameters(call, "query")[name]
    path = call.removeprefix("GET ").replace("{id}", str(ada.pk))

    taken = {client.get(path, {name: value}).status_code for value in samples(parameter)}
    refused = {client.get(path, {name: value}).status_code for value in invalid_samples(parameter)}

    assert taken == ({400} if name == "cursor" else {200})  # no made-up cursor is valid
    assert refused <= {400}


def test_a_public_operation_requires_no_token():
    for call, operation in DOCUMENT.operations.items():
        if call in PUBLIC:
            assert operation["security"] == []
        elif call == "POST /user/register/":
            assert operation["security"] == [{}, {"Bearer": []}]
        else:
            assert operation["security"] == [{"Bearer": []}]
        assert ("401" in operation["responses"]) is not call.startswith(
            ("POST /user/password-reset/", "POST /user/email/", "GET /token/")
        )


@pytest.fixture
def example_data(alice, password):
    """Replaces what only exists in the examples, such as tokens. Other examples are sent as they are."""
    refresh = token_pair(Session.objects.open(alice))["refresh"]
    id_of_alice = {"id": alice.pk}
    return {
        "POST /token/": {"password": password},
        "POST /token/refresh/": {"refresh": refresh},
        "POST /token/verify/": {"token": refresh},
        "POST /token/logout/": {"refresh": refresh},
        "POST /user/password-reset/confirm/": {"token": PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)},
        "POST /user/email/confirm/": {"token": EmailToken.objects.issue(alice, alice.email)},
        "PATCH /user/me/": {"current_password": password},
        "POST /user/me/password/": {"current_password": password},
        **{f"{method} /user/users/": id_of_alice for method in ("PUT", "PATCH", "DELETE")},
    }


@pytest.mark.parametrize("call", WITH_BODY)
def test_the_service_accepts_the_example_bodies(client_of, ada, alice, example_data, call):
    creates = call in ("POST /user/register/", "POST /user/users/")
    client = client_of(alice if "/me/" in call else ada)
    if call == "POST /user/email/confirm/":
        User.objects.filter(pk=alice.pk).update(email_confirmed=False)
    if creates:
        User.objects.filter(pk=alice.pk).delete()
    schema = DOCUMENT.parameters(call, "body")["body"]["schema"]["$ref"]
    example = DOCUMENT.spec["definitions"][schema.rpartition("/")[2]]["example"]

    answer = permission_table.send(client, call, id_=alice.pk, body=example | example_data.get(call, {}))

    assert answer.status_code in ({201} if creates else {200, 202, 204})


def test_a_read_account_matches_the_schema_of_a_put(client_of, ada, alice):
    account = client_of(ada).get(f"/user/users/{alice.pk}/").json()

    assert DOCUMENT.body_errors("PUT /user/users/{id}/", account) == []


CARL = {"username": "carl", "email": "carl@example.com", "password": "zq7-vb1"}


@pytest.mark.parametrize(
    ("call", "body"),
    [
        *(("PATCH /user/users/{id}/", body) for body in ({"isactive": True}, {"role": "root"}, {"username": "-x"})),
        ("POST /user/register/", CARL),  # its password has only seven characters
    ],
)
def test_schema_and_service_refuse_the_same_values(client_of, ada, alice, call, body):
    assert DOCUMENT.body_errors(call, body) != []
    assert permission_table.send(client_of(ada), call, id_=alice.pk, body=body).status_code == 400


STATUSES = {
    "POST /user/register/": {201, 400, 401, 403, 409, 413, 415, 429, 503},
    "POST /token/": {200, 400, 401, 413, 415, 429, 503},
    "POST /user/users/": {201, 400, 401, 403, 409, 413, 415, 422, 429, 503},
    "DELETE /user/users/{id}/": {204, 400, 401, 403, 404, 409, 412, 429, 503},
    "GET /user/users/{id}/": {200, 304, 400, 401, 404, 429, 503},
    "POST /user/password-reset/": {202, 400, 413, 415, 429, 503},
}


@pytest.mark.parametrize("call", STATUSES)
def test_operations_have_their_statuses_and_no_others(call):
    responses = DOCUMENT.operations[call]["responses"]

    assert {int(status) for status in responses if status != "default"} == STATUSES[call]
    assert {"RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"} <= responses["429"]["headers"].keys()


def test_the_pages_are_not_limited_and_change_no_other_policy(client):
    assert "RateLimit" not in client.get("/user/docs/").headers
    assert client.get("/user/me/")["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
