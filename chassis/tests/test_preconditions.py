"""Unsupported conditions are rejected: ignoring one could overwrite another change."""

import pytest
from rest_framework.response import Response

from chassis.api.views import Endpoint

TAG = '"0123456789ab"'
DATE = "Fri, 27 Nov 2026 12:00:00 GMT"
CONDITIONS = dict.fromkeys(("If-Match", "If-None-Match", "If-Range"), TAG)
CONDITIONS |= dict.fromkeys(("If-Modified-Since", "If-Unmodified-Since"), DATE)


def send(client, method, header, path="/echo/"):
    headers = CONDITIONS if header == "all" else {header: CONDITIONS[header]}
    return client.generic(method, path, b"{}", content_type="application/json", headers=headers)


@pytest.mark.parametrize("header", CONDITIONS)
def test_a_write_rejects_conditions_it_does_not_evaluate(client, header):
    answer = send(client, "POST", header)

    problem = answer.json()
    (error,) = problem["errors"]
    assert (answer.status_code, problem["code"]) == (400, "precondition_unsupported")
    assert (error["field"], error["code"]) == (header, "precondition_unsupported")
    assert problem["detail"] == f"{header}: Is not supported for this POST; remove it."


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", CONDITIONS)
def test_a_read_rejects_only_conditions_of_writes(client, method, header):
    is_of_writes = header in ("If-Match", "If-Unmodified-Since")

    assert send(client, method, header).status_code == (400 if is_of_writes else 200)


@pytest.mark.parametrize(("path", "status"), [("/who-am-i/", 401), ("/rows/1/", 405)])
def test_other_errors_take_precedence(client, path, status):
    assert send(client, "POST", "all", path).status_code == status


class Declared(Endpoint):
    permission_classes = []
    if_match_methods = frozenset({"PUT"})
    has_entity_tag = False

    def get(self, request):
        return Response({})

    put = patch = get


@pytest.mark.parametrize(
    ("method", "header", "status"),
    [
        *[("PUT", "If-Match", 200), ("PATCH", "If-Match", 400)],
        *[("PUT", "If-None-Match", 400), ("GET", "If-None-Match", 400)],
    ],
)
def test_a_view_declares_its_conditions(rf, method, header, status):
    assert Declared.as_view()(rf.generic(method, "/", headers={header: TAG})).status_code == status
