"""Unsupported conditions are rejected: ignoring one could overwrite another change."""

import pytest
from rest_framework.response import Response

from chassis.api.views import Endpoint

TAG = '"0123456789ab"'
DATE = "Fri, 27 Nov 2026 12:00:00 GMT"
CONDITIONS = {
    "If-Match": TAG,
    "If-None-Match": TAG,
    "If-Modified-Since": DATE,
    "If-Unmodified-Since": DATE,
    "If-Range": TAG,
}


def refusal(answer):
    problem = answer.json()
    return answer.status_code, problem["code"], [(error["field"], error["code"]) for error in problem["errors"]]


@pytest.mark.parametrize("header", CONDITIONS)
def test_a_write_rejects_conditions_it_does_not_evaluate(client, header):
    answer = client.generic(
        "POST", "/echo/", b"{}", content_type="application/json", headers={header: CONDITIONS[header]}
    )

    assert refusal(answer) == (400, "precondition_unsupported", [(header, "precondition_unsupported")])
    assert answer.json()["detail"] == f"{header}: Is not supported for this POST; remove it."


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", ["If-Match", "If-Unmodified-Since"])
def test_a_read_rejects_conditions_of_writes(client, method, header):
    answer = client.generic(method, "/echo/", headers={header: CONDITIONS[header]})

    assert answer.status_code == 400


@pytest.mark.parametrize("header", ["If-None-Match", "If-Modified-Since", "If-Range"])
def test_a_read_accepts_the_other_conditions(client, header):
    assert client.get("/echo/", headers={header: CONDITIONS[header]}).status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/who-am-i/", 401), ("/rows/1/", 405)])
def test_other_errors_take_precedence(client, path, status):
    answer = client.generic("POST", path, b"{}", content_type="application/json", headers=CONDITIONS)

    assert answer.status_code == status


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
        ("PUT", "If-Match", 200),
        ("PATCH", "If-Match", 400),
        ("PUT", "If-None-Match", 400),
        ("GET", "If-None-Match", 400),
        ("GET", "If-Match", 400),
    ],
)
def test_a_view_declares_its_conditions(rf, method, header, status):
    answer = Declared.as_view()(rf.generic(method, "/", headers={header: TAG}))

    assert answer.status_code == status
