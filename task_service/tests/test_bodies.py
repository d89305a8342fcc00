"""Bodies as bytes, which no JSON library would send."""

import pytest

from tests.conftest import TASKS, stored_tasks, task_url

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"7", b'"x"', b"[]", b'[{"title": "a"}, {"title": "b"}]', b'{"title": "a"', b'{"title": NaN}'),
        *(b'{"title": "\xff"}', b'{"title": "a", "title": "b"}', b'{"title": "a\\u0000"}', b'{"title": "\\ud800"}'),
        *(b'{"title": "a", "assigned_to": 1e400}', b'{"title": "a", "assigned_to": ' + b"9" * 5000 + b"}"),
        *(b'{"title": "a", "status": "\\ud800"}', b'{"title": "a", "\\ud800": 1}', b'{"title": "a", "x\\u0000": 1}'),
        *(b"[" * 100_000, b'{"title":' * 50_000 + b"1" + b"}" * 50_000),
        b'{"title": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
    ids=lambda body: ascii(body)[1:40],
)
def test_a_body_that_is_not_one_json_object_is_400(ada, create_task, body):
    detail = task_url(create_task())
    before = stored_tasks()

    answers = [
        ada.generic(method, path, body, content_type="application/json")
        for method, path in [("POST", TASKS), ("PUT", detail), ("PATCH", detail)]
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert {answer["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert stored_tasks() == before


@pytest.mark.parametrize("content_type", ["", "application/x-www-form-urlencoded", "application/json; charset=utf-16"])
def test_a_body_that_is_not_json_in_utf_8_is_refused(ada, content_type):
    answer = ada.generic("POST", TASKS, b'{"title": "Water"}', content_type=content_type)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
