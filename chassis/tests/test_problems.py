import json

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import IntegrityError, InterfaceError, InternalError, OperationalError
from django.http import Http404
from psycopg2 import errors
from rest_framework import exceptions
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from chassis.api.problems import Conflict, PayloadTooLarge, ServiceUnavailable


class Raises(APIView):
    permission_classes = []
    error = None

    def get(self, request):
        raise self.error


def answer_to(error):
    return Raises.as_view(error=error)(APIRequestFactory().get("/task/tasks/7/")).render()


def caused_by(error, cause):
    """Django chains the driver's error to its own."""
    error.__cause__ = cause()
    return error


BUSY = "Another request is changing the same data"
AWAY = "The database cannot be reached"


def problem_of(error):
    return json.loads(answer_to(error).content)


def test_a_problem_has_the_members_of_rfc_9457_and_ours(client):
    answer = client.get("/who-am-i/", headers={"X-Request-ID": "abc-1"})

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "Authentication credentials were not provided.",
        "code": "not_authenticated",
        "instance": "/who-am-i/",
        "request_id": "abc-1",
        "errors": [],
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (exceptions.ParseError(), 400, "parse_error"),
        (exceptions.NotFound(), 404, "not_found"),
        (Http404("hunter2"), 404, "not_found"),
        (exceptions.PermissionDenied(), 403, "permission_denied"),
        (PermissionDenied("hunter2"), 403, "permission_denied"),
        (MemoryError(), 503, "service_unavailable"),
        (Conflict(), 409, "conflict"),
        (Conflict("Taken.", code="username_taken"), 409, "username_taken"),
        (PayloadTooLarge(), 413, "payload_too_large"),
        (RequestDataTooBig(), 413, "payload_too_large"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
        (exceptions.Throttled(wait=41.2), 429, "throttled"),
        (ServiceUnavailable(), 503, "service_unavailable"),
        (OperationalError("password=hunter2"), 503, "service_unavailable"),
        (InterfaceError("connection already closed"), 503, "service_unavailable"),
        (caused_by(InternalError(), errors.ReadOnlySqlTransaction), 503, "service_unavailable"),
    ],
    ids=repr,
)
def test_each_error_has_its_status_and_code_and_no_internals(error, status, code):
    answer = answer_to(error)

    problem = json.loads(answer.content)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers.get("Retry-After") == {429: "42", 503: "2"}.get(status)
    assert b"hunter2" not in answer.content


def test_a_404_is_the_same_from_django_and_drf():
    assert answer_to(Http404("No Task matches the given query.")).content == answer_to(exceptions.NotFound()).content


def test_a_lost_database_is_logged_with_its_reason(caplog):
    answer_to(OperationalError("server closed the connection"))

    assert caplog.messages == ["OperationalError: server closed the connection"]


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        *[(errors.LockNotAvailable, BUSY), (errors.DeadlockDetected, BUSY), (errors.SerializationFailure, BUSY)],
        *[(errors.AdminShutdown, AWAY), (errors.TooManyConnections, AWAY)],
        (errors.QueryCanceled, "The database took too long"),
    ],
)
def test_a_database_error_names_its_cause(cause, expected):
    problem = problem_of(caused_by(OperationalError(), cause))

    assert (problem["status"], problem["code"]) == (503, "service_unavailable")
    assert problem["detail"].startswith(expected)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), IntegrityError("a bug"), KeyError("a bug")])
def test_a_bug_is_not_handled_as_a_problem(error):
    with pytest.raises(type(error)):
        answer_to(error)


def test_a_bug_becomes_a_problem_without_details(client, caplog):
    client.raise_request_exception = False

    answer = client.get("/broken/", headers={"X-Request-ID": "abc-1"})

    assert (answer.status_code, answer.json()["request_id"]) == (500, "abc-1")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert b"secret plan" not in answer.content
    assert "the secret plan failed" in caplog.text


@pytest.mark.parametrize(
    "path", ["/nowhere/", "/", "/%00/", "/%ff/", "/%ed%a0%80/", '/"quoted"/', "/<script>/", "/" + "a" * 5_000]
)
def test_an_unknown_path_is_a_problem(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


TOO_LONG = ErrorDetail("Too long.", code="max_length")


@pytest.mark.parametrize(
    ("error", "status", "detail", "field", "code"),
    [
        (ValidationError({"title": [TOO_LONG]}), 400, "title: Too long.", "title", "max_length"),
        (ValidationError({"non_field_errors": [TOO_LONG]}), 400, "Too long.", None, "max_length"),
        (ValidationError("Too long."), 400, "Too long.", None, "invalid"),
        (Conflict({"title": [TOO_LONG]}), 409, "title: Too long.", "title", "max_length"),
    ],
)
def test_a_single_error_is_the_detail(error, status, detail, field, code):
    problem = problem_of(error)

    assert (problem["status"], problem["detail"]) == (status, detail)
    assert problem["code"] == {400: "invalid", 409: "conflict"}[status]
    assert problem["errors"] == [{"field": field, "code": code, "detail": "Too long."}]


def test_several_errors_are_listed_and_counted():
    problem = problem_of(ValidationError({"title": ["Too long.", "Too loud."], "status": "Odd."}))

    listed = [(error["field"], error["detail"]) for error in problem["errors"]]
    assert problem["detail"] == "3 validation errors; first: title: Too long."
    assert listed == [("title", "Too long."), ("title", "Too loud."), ("status", "Odd.")]


def test_a_nested_field_is_named_by_its_path():
    detail = {"set": {"tags": [{}, {"name": ["Too long."]}]}, "mail": {"message": ["Odd."], "code": ["Odd."]}}

    problem = problem_of(ValidationError(detail))

    assert [error["field"] for error in problem["errors"]] == ["set.tags[1].name", "mail.message", "mail.code"]
