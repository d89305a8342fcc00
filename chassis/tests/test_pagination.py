import datetime
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import signing
from django.db import models
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from chassis.api.pagination import SALT, KeysetPagination, Order

LIST = SimpleNamespace(ordering_fields=["id", "title", "due_date"], default_ordering="-due_date", ranks_search=False)


class Task(models.Model):
    title = models.CharField(max_length=200)
    due_date = models.DateField(null=True)

    class Meta:
        app_label = "tests_of_pagination"

    def __str__(self):
        return self.title


def page(query="", **extra):
    pages = KeysetPagination()
    request = Request(APIRequestFactory().get(f"/task/tasks/?{query}", **extra))
    pages.paginate_queryset(Task.objects.none(), request, LIST)
    return pages


def refusal(query):
    with pytest.raises(ValidationError) as caught:
        page(query)
    return {parameter: str(error) for parameter, (error,) in caught.value.detail.items()}


def cursor_of(url):
    (cursor,) = parse_qs(urlsplit(url).query)["cursor"]
    return cursor


def test_a_page_has_20_rows_in_the_default_order():
    pages = page()

    assert (pages.size, pages.order) == (20, Order("due_date", descending=True, nullable=True))


@pytest.mark.parametrize("size", [1, 99, 100])
def test_the_size_of_a_page_may_be_chosen(size):
    assert page(f"page_size={size}").size == size


@pytest.mark.parametrize(
    "size",
    ["", "0", "-1", "+5", "101", "1000000000", "9" * 5_000, "1.0", "1e1", "abc", "%20%205", "%D9%A5", "%C2%B2", "%FF"],
)
def test_any_other_page_size_is_rejected(size):
    assert refusal(f"page_size={size}") == {"page_size": "Must be a whole number from 1 to 100."}


@pytest.mark.parametrize(
    ("ordering", "order"),
    [
        ("id", Order("id", descending=False, nullable=False)),
        ("-title", Order("title", descending=True, nullable=False)),
        ("due_date", Order("due_date", descending=False, nullable=True)),
    ],
)
def test_rows_can_be_sorted_by_listed_fields(ordering, order):
    assert page(f"ordering={ordering}").order == order


@pytest.mark.parametrize(
    ("orderings", "begin"),
    [
        (["pk", "--id", "%3F", "-", "title,id", "assignee__password", "title__isnull", "%2Bid"], "Unknown ordering"),
        (["-due_dat"], "Unknown ordering; did you mean due_date?"),
    ],
)
def test_any_other_ordering_is_rejected(orderings, begin):
    for ordering in orderings:
        sentence = refusal(f"ordering={ordering}")["ordering"]

        assert sentence.startswith(begin)
        assert sentence.endswith("Known: id, title, due_date.")


@pytest.mark.parametrize(
    ("ordering", "backwards", "columns"),
    [
        ("id", False, ["id"]),
        ("id", True, ["-id"]),
        ("-id", True, ["id"]),
        ("title", False, ["title", "id"]),
        ("-title", False, ["-title", "-id"]),
        ("-title", True, ["title", "id"]),
        ("due_date", False, [models.F("due_date").asc(nulls_last=True), "id"]),
        ("-due_date", False, [models.F("due_date").desc(nulls_last=True), "-id"]),
        ("due_date", True, [models.F("due_date").desc(nulls_first=True), "-id"]),
        ("-due_date", True, [models.F("due_date").asc(nulls_first=True), "id"]),
    ],
)
def test_ties_are_broken_by_the_id_and_nulls_come_last(ordering, backwards, columns):
    assert page(f"ordering={ordering}").order.columns(backwards=backwards) == columns


@pytest.mark.parametrize("due_date", [datetime.date(2026, 1, 31), None])
@pytest.mark.parametrize("backwards", [True, False])
def test_a_link_continues_after_its_row(due_date, backwards):
    pages = page("ordering=due_date")

    url = pages.link(Task(pk=7, due_date=due_date), backwards=backwards)

    assert pages.read(cursor_of(url), Task) == ([due_date, 7], backwards)


def test_a_link_keeps_other_parameters_and_uses_our_host(settings):
    cursor = cursor_of(page().link(Task(pk=7), backwards=False))
    hostile = {"Host": "evil.test", "X-Forwarded-Host": "evil.test"}
    pages = page(f"status=todo&status=done&page_size=5&cursor={cursor}", headers=hostile)

    url = urlsplit(pages.link(Task(pk=9), backwards=False))

    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{settings.PUBLIC_URL}/task/tasks/"
    kept = parse_qs(url.query)
    assert [pages.read(each, Task) for each in kept.pop("cursor")] == [([None, 9], False)]
    assert kept == {"status": ["todo", "done"], "page_size": ["5"]}


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", ":", "::", "a:b:c", "1", "%00", "%FF", "é", "eyJhIjoxfQ", "a" * 5_000),
        signing.Signer(salt="elsewhere").sign_object(["-due_date", False, None, 7]),
    ],
    ids=lambda value: value[:20],
)
def test_a_forged_cursor_is_rejected(cursor):
    assert refusal(f"cursor={cursor}") == {"cursor": "Is not a valid cursor of this list."}


def test_links_of_a_page_do_not_depend_on_the_time(monkeypatch):
    first = page().link(Task(pk=7), backwards=False)
    monkeypatch.setattr("time.time", lambda: 2e9)

    assert page().link(Task(pk=7), backwards=False) == first


def test_a_cursor_belongs_to_its_ordering_and_cannot_be_modified():
    cursor = signing.Signer(salt=SALT).sign_object(["title", False, "Sweep", 7])
    modified = ("X" if cursor[5] != "X" else "Y").join((cursor[:5], cursor[6:]))

    assert refusal(f"cursor={cursor}") == {"cursor": "Belongs to ordering=title; remove ordering or start again."}
    assert refusal(f"cursor={modified}") == {"cursor": "Is not a valid cursor of this list."}


def test_an_empty_page_has_no_links():
    assert page().get_paginated_response([]).data == {"next": None, "previous": None, "results": []}
