"""Bodies as bytes, which no JSON library would send."""

import gzip

import pytest

from tasks.models import Task

TASKS = "/task/tasks/"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"7",
        b'"x"',
        b"[]",
        b'[{"title": "a"}, {"title": "b"}]',
        b'{"title": "a"',
        b"{'title': 'a'}",
        b'{"title": "a"} {}',
        b'\xef\xbb\xbf{"title": "a"}',
        b'{"title": "\xff"}',
        b'{"title": "\xed\xa0\x80"}',
        b'{"title": "a", "title": "b"}',
        b'{"title": "a", "status": "todo", "stat\\u0075s": "completed"}',
        b'{"title": NaN}',
        b'{"title": "a", "assigned_to": Infinity}',
        b'{"title": "a", "assigned_to": -Infinity}',
        b'{"title": "a", "assigned_to": 1e400}',
        b'{"title": "a", "assigned_to": ' + b"9" * 5000 + b"}",
        b'{"title": "a\\u0000"}',
        b'{"title": "a\x00"}',
        b'{"title": "a", "x\\u0000": 1}',
        b'{"title": "\\ud800"}',
        b'{"title": "a", "description": "\\udc00\\ud800"}',
        b'{"title": "a", "status": "\\ud800"}',
        b'{"title": "a", "\\ud800": 1}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"title":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"title": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
    ids=lambda body: ascii(body)[1:40],
)
def test_a_body_that_is_not_one_json_object_is_400(ada, create_task, body):
    task = create_task()
    detail = f"{TASKS}{task.pk}/"

    answers = [
        ada.generic(method, path, body, content_type="application/json")
        for method, path in [("POST", TASKS), ("PUT", detail), ("PATCH", detail)]
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert {answer["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert Task.objects.get().title == task.title


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("", {}),
        ("text/plain", {}),
        ("application/xml", {}),
        ("application/x-www-form-urlencoded", {}),
        ("multipart/form-data; boundary=x", {}),
        ("application/json; charset=utf-7", {}),
        ("application/json; charset=utf-16", {}),
        ("application/json; charset=bz2_codec", {}),
        ("application/json; charset=nonsense", {}),
        ("application/" + "x" * 5000, {}),
        ("application/json", {"HTTP_CONTENT_ENCODING": "gzip"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_body_that_is_not_json_in_utf_8_is_refused(ada, content_type, headers):
    body = b'{"title": "Water"}'

    answer = ada.generic("POST", TASKS, gzip.compress(body) if headers else body, content_type=content_type, **headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert not Task.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'APPLICATION/JSON; charset="UTF-8"'])
def test_the_charset_utf_8_is_accepted(ada, content_type):
    answer = ada.generic("POST", TASKS, '{"title": "Gießen"}'.encode(), content_type=content_type)

    assert (answer.status_code, answer.json()["title"]) == (201, "Gießen")


@pytest.mark.django_db
def test_a_body_over_one_megabyte_is_413(ada):
    answer = ada.post(TASKS, {"title": "Water", "description": "x" * 1024 * 1024})

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert not Task.objects.exists()
