import logging

import pytest
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from chassis.auth import tokens
from chassis.auth.gate import BearerAuthentication
from chassis.auth.tokens import InvalidToken
from chassis.testing.forge import claims, signed


def get(client, path, authorization):
    return client.get(path, headers={"Authorization": authorization})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_identifies_the_caller(client, scheme):
    answer = get(client, "/who-am-i/", f"{scheme} {signed(claims(sub='7', username='alice'))}")

    assert (answer.status_code, answer.json()) == (200, {"id": 7, "username": "alice"})


def test_without_a_header_the_401_says_how_to_authenticate(client):
    answer = client.get("/who-am-i/", {"access_token": signed(claims())})  # a token in the query is ignored

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tmservice"'


@pytest.mark.parametrize(
    "form",
    [
        *("", " ", "Bearer", "Bearer ", "Bearer  {token}", " Bearer {token}", "Bearer {token} ", "Bearer {token} x"),
        *("Bearer {token}, Bearer {token}", "Bearer {token},", "Bearer\t{token}", "Bearer:{token}", "Bearer é{token}"),
        *("Basic {token}", "Token {token}", "{token}"),
    ],
)
def test_a_valid_token_in_a_malformed_header_is_401(client, form):
    answer = get(client, "/who-am-i/", form.format(token=signed(claims())))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert answer.json()["detail"] == "The Authorization header must be: Bearer <access token>."
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tmservice"'


def test_only_the_log_says_why_a_token_is_rejected(client, caplog):
    expired, forged = signed(claims(exp=1)), signed(claims(), kid="x")

    with caplog.at_level(logging.INFO, logger="chassis.auth.gate"):
        details = [get(client, "/who-am-i/", f"Bearer {token}").json()["detail"] for token in (expired, forged)]

    assert details == ["The token is invalid or has expired."] * 2
    assert [record.getMessage() for record in caplog.records if record.name == "chassis.auth.gate"] == [
        *("token refused: Signature has expired", "token refused: signed with a key that is not in use")
    ]
    assert not [token for token in (expired, forged) if token in caplog.text]


def test_a_service_can_reject_a_caller_in_resolve():
    class EndedSessions(BearerAuthentication):
        def resolve(self, token):
            raise InvalidToken("the session has ended")

    view = APIView.as_view(authentication_classes=[EndedSessions], permission_classes=[])

    answer = view(APIRequestFactory().get("/", headers={"Authorization": f"Bearer {signed(claims())}"}))

    assert (answer.status_code, answer.data["code"]) == (401, "token_invalid")


def test_only_a_service_can_use_internal_routes(client):
    answer = get(client, "/internal/", f"Bearer {tokens.issue_service_token('task_service')}")
    rejected = [get(client, "/internal/", f"Bearer {signed(claims(role=role))}") for role in ("user", "admin")]

    assert (answer.status_code, answer.json()) == (200, {"service": "task_service"})
    assert [answer.status_code for answer in rejected] == [401, 401]


def test_a_service_cannot_use_user_routes(client):
    assert get(client, "/who-am-i/", f"Bearer {tokens.issue_service_token('task_service')}").status_code == 401
