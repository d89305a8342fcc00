"""Requests are counted exactly, in windows, and responses have the remaining number."""

import logging
from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpResponse, HttpResponseNotModified
from django.test import Client, RequestFactory
from django.utils import timezone

from chassis.api.middleware import RateLimitMiddleware
from chassis.auth import limits
from chassis.auth.limits import Allowance, CountedRequest, Rate
from chassis.models import Window
from chassis.ops import metrics
from chassis.testing.clock import advance_time
from chassis.testing.limiting import Limit, read_limit, read_limits, read_retry_after, set_limits
from chassis.testing.threads import together
from chassis.worker import jobs

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

A_MINUTE = Rate(5, 60)


def counts():
    return dict(Window.objects.values_list("key", "requests"))


def test_a_window_opens_with_the_first_request():
    before = timezone.now()

    counted = [limits.count("a", A_MINUTE) for _ in range(20)]

    assert [each.number for each in counted] == list(range(1, 21))  # rejected requests too
    assert {each.ends_at for each in counted} == {Window.objects.get().ends_at}
    assert before <= counted[0].ends_at - timedelta(seconds=60) <= timezone.now()
    assert 0 < counted[2].seconds_left < counted[0].seconds_left <= 60


def test_a_window_that_ended_is_followed_by_a_new_one():
    for _ in range(20):
        limits.count("a", A_MINUTE)
    advance_time(Window, seconds=60)

    counted = [limits.count("a", Rate(5, 3600)) for _ in range(2)]

    assert [each.number for each in counted] == [1, 2]
    assert 60 < counted[1].seconds_left <= 3600


def test_keys_are_counted_apart():
    for key in ("a", "a", "A", "a ", "b"):
        limits.count(key, A_MINUTE)

    assert counts() == {"a": 2, "A": 1, "a ": 1, "b": 1}


@COMMITTING
@pytest.mark.parametrize("before", ["nothing", "a window", "a window that has ended"])
def test_fifty_concurrent_requests_get_distinct_counts(before):
    if before != "nothing":
        limits.count("a", A_MINUTE)
    if before == "a window that has ended":
        advance_time(Window, seconds=61)
    begin = 2 if before == "a window" else 1

    counted = together(50, lambda: limits.count("a", A_MINUTE))

    assert sorted(each.number for each in counted) == list(range(begin, begin + 50))
    assert len({each.ends_at for each in counted}) == 1


@COMMITTING
def test_deleting_ended_windows_never_counts_twice():
    limits.count("a", A_MINUTE)
    advance_time(Window, minutes=5)

    def count_and_forget():
        jobs.delete_ended_windows()
        return limits.count("a", A_MINUTE).number

    assert sorted(together(20, count_and_forget)) == list(range(1, 21))


def test_windows_that_ended_a_minute_ago_are_deleted():
    for key, seconds in [("long ago", -61), ("just now", 0), ("not yet", 60)]:
        Window.objects.create(key=key, ends_at=timezone.now() + timedelta(seconds=seconds), requests=1)

    jobs.delete_ended_windows()

    assert counts().keys() == {"just now", "not yet"}


def test_a_refund_removes_the_request_from_its_window_alone():
    counted = limits.count("a", A_MINUTE)
    Window.objects.create(key="b", ends_at=counted.ends_at, requests=1)
    last = limits.count("a", A_MINUTE)

    assert last.refund(max_requests=5).number == 1
    assert counts() == {"a": 1, "b": 1}
    assert Window.objects.get(key="a").ends_at == counted.ends_at
    assert limits.count("a", A_MINUTE).number == 2


def test_a_late_refund_does_not_affect_the_next_window():
    counted = limits.count("a", A_MINUTE)
    advance_time(Window, seconds=60)
    limits.count("a", A_MINUTE)

    counted.refund(max_requests=5)
    assert counts() == {"a": 1}

    Window.objects.all().delete()
    counted.refund(max_requests=5)
    assert counts() == {}


@COMMITTING
def test_fifty_concurrent_refunds_are_exact():
    together(50, lambda: limits.count("a", A_MINUTE).refund(max_requests=50))

    assert counts() == {"a": 0}


def test_earlier_rejections_do_not_use_a_refunded_slot():
    """Two concurrent requests with one left in the limit, where the accepted one is a 304."""
    rate = Rate(2, 60)
    allowances = [Allowance("anon", rate, limits.count("a", rate)) for _ in range(5)]

    allowances[1].refund()

    assert [each.is_exhausted for each in allowances] == [False, False, True, True, True]
    assert [limits.count("a", rate).number for _ in range(2)] == [2, 3]


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_304_is_refunded_at_most_rate_times(client, settings, method):
    set_limits(settings, anon="5/min")
    tag = client.get("/echo/").headers["ETag"]

    answers = [getattr(client, method)("/echo/", headers={"If-None-Match": tag}) for _ in range(12)]

    assert [answer.status_code for answer in answers] == [304] * 9 + [429] * 3
    assert [read_limit(answer).left for answer in answers] == [4] * 5 + [3, 2, 1, 0] + [0] * 3


def test_a_new_window_refunds_again(client, settings):
    set_limits(settings, anon="2/min")
    unchanged = {"If-None-Match": client.get("/echo/").headers["ETag"]}
    spent = [client.get("/echo/", headers=unchanged).status_code for _ in range(4)]
    advance_time(Window, seconds=60)

    answers = [client.get("/echo/", headers=unchanged) for _ in range(5)]

    assert spent == [304] * 3 + [429]
    assert [answer.status_code for answer in answers] == [304] * 4 + [429]
    assert [read_limit(answer).left for answer in answers] == [2, 2, 1, 0, 0]


@pytest.mark.parametrize("condition", ["*", " * "])
def test_a_304_for_any_tag_is_not_refunded(client, settings, condition):
    set_limits(settings, anon="3/min")

    answers = [client.get("/echo/", headers={"If-None-Match": condition}) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [304] * 3 + [429] * 2
    assert [read_limit(answer).left for answer in answers] == [2, 1, 0, 0, 0]


@COMMITTING
def test_concurrent_304s_are_refunded_at_most_rate_times():
    counted = [limits.count("a", A_MINUTE) for _ in range(10)][-1]

    afterwards = together(40, lambda: counted.refund_not_modified(max_requests=10).number)

    assert sorted(afterwards) == [9] * 10 + [10] * 30
    assert (Window.objects.get().not_modified, counts()) == (10, {"a": 0})


@COMMITTING
def test_concurrent_304s_are_at_most_twice_the_rate(client, settings):
    set_limits(settings, anon="10/min")
    unchanged = {"If-None-Match": client.get("/echo/").headers["ETag"]}
    advance_time(Window, seconds=60)

    at_once = together(40, lambda: Client().get("/echo/", headers=unchanged).status_code)
    afterwards = [Client().get("/echo/", headers=unchanged).status_code for _ in range(20)]

    assert set(at_once) == {304, 429}
    assert at_once.count(304) >= 10
    assert (at_once + afterwards).count(304) == 20


def test_the_previous_version_can_count_without_the_column():
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO chassis_window (key, ends_at, requests) VALUES ('a', now() + interval '1 min', 1)")

    assert limits.count("a", A_MINUTE).refund_not_modified(max_requests=5).number == 1


@COMMITTING
@pytest.mark.parametrize("status", [304, 200])
def test_a_304_is_returned_even_if_its_refund_fails(monkeypatch, caplog, status):
    request = RequestFactory().get("/")
    counted = CountedRequest("a", 2, timezone.now(), 30.0)
    request.allowances = [Allowance("anon", A_MINUTE, counted)]
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    with caplog.at_level(logging.WARNING, logger="chassis.api.middleware"):
        answer = RateLimitMiddleware(lambda request: HttpResponse(status=status))(request)

    assert (answer.status_code, answer.headers["RateLimit"]) == (status, '"anon";r=3;t=30')
    assert ("a 304 was not refunded" in caplog.text) == (status == 304)


@pytest.mark.parametrize("answer", [HttpResponse(), HttpResponseNotModified()])
def test_uncounted_requests_have_no_rate_limit_headers(answer):
    assert read_limits(RateLimitMiddleware(lambda request: answer)(RequestFactory().get("/"))) == []


def test_each_response_has_the_remaining_requests(client, settings):
    set_limits(settings, anon="5/min")
    before = rejected("anon")

    answers = [client.get("/echo/") for _ in range(7)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert [read_limit(answer).left for answer in answers] == [4, 3, 2, 1, 0, 0, 0]
    assert {read_limit(answer)[:3] for answer in answers} == {("anon", 5, 60)}
    assert answers[0].headers["RateLimit-Policy"] == '"anon";q=5;w=60'
    assert rejected("anon") == before + 2


def rejected(scope):
    """Return the number of rejected requests in the metrics."""
    return metrics.REGISTRY.get_sample_value("tmservice_limited_total", {"scope": scope}) or 0


def test_a_429_is_a_problem_whose_retry_after_is_long_enough(client, settings):
    set_limits(settings, anon="1/hour")
    client.get("/echo/")
    advance_time(Window, seconds=42.5)

    answer = client.get("/echo/")
    wait = read_retry_after(answer)

    assert 3600 - 43 - 60 < wait <= 3600 - 42
    assert answer.json()["detail"] == f"Too many requests. Expected available in {wait} seconds."
    assert (answer.json()["status"], answer.json()["title"]) == (429, "Too Many Requests")
    assert answer.headers["Cache-Control"] == "no-store"
    advance_time(Window, seconds=wait)
    assert client.get("/echo/").status_code == 200


@pytest.mark.parametrize(("unit", "window"), [("s", 1), ("sec", 1), ("minute", 60), ("h", 3600), ("day", 86400)])
def test_a_window_is_as_long_as_the_rate_says(client, settings, unit, window):
    set_limits(settings, anon=f"5/{unit}")

    assert read_limit(client.get("/echo/")) == Limit("anon", 5, window, 4, window)


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [
        *[(400, "GET", "/echo/?zzz=1"), (401, "GET", "/who-am-i/"), (405, "OPTIONS", "/echo/")],
        *[(415, "POST", "/echo/"), (500, "GET", "/broken/")],
    ],
)
def test_rejected_and_failed_requests_are_counted(settings, status, method, path):
    set_limits(settings, anon="2/min")
    client = Client(raise_request_exception=False)

    answers = [client.generic(method, path, b"{}", content_type="text/plain") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status, status, 429]
    assert [read_limit(answer).left for answer in answers] == [1, 0, 0]
