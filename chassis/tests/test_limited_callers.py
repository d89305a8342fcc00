"""How callers are counted: accounts by id, others by address."""

import ipaddress
from itertools import count

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chassis.models import Window
from chassis.testing.forge import claims, signed
from chassis.testing.limiting import read_limit, read_limits, read_retry_after, set_limits
from chassis.testing.threads import together

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)


def get(path="/echo/", *, token=None, **options):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Client().get(path, headers=headers | options.pop("headers", {}), **options)


def test_the_role_is_the_scope_and_the_account_the_key(settings):
    set_limits(settings, admin="3/min", user="2/min", anon="1/min")
    ada, alice = (signed(claims(sub=sub, role=role)) for sub, role in [("1", "admin"), ("7", "user")])
    bob = signed(claims(sub="77"))

    answers = [get(token=token) for token in (ada, alice, alice, alice, bob, ada, None, ada)]

    left = [(read_limit(answer).scope, read_limit(answer).left) for answer in answers]
    assert left[:5] == [("admin", 2), ("user", 1), ("user", 0), ("user", 0), ("user", 1)]
    assert left[5:] == [("admin", 1), ("anon", 0), ("admin", 0)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 200, 200, 200, 200]


def test_an_account_has_one_count_over_tokens_and_addresses(settings):
    set_limits(settings, user="2/min")

    statuses = [
        get(token=signed(claims(sid=str(number))), REMOTE_ADDR=f"192.0.2.{number}").status_code
        for number in range(1, 4)
    ]

    assert statuses == [200, 200, 429]


def test_invalid_tokens_count_as_anonymous(settings):
    set_limits(settings, admin="9/min", user="9/min", anon="5/min")
    forged = [signed(claims(exp=1)), signed(claims(), key="x" * 40), signed(claims(role="root"))]

    answers = [get(token=token) for token in ["nonsense", *forged, None, *forged, None]]

    assert [answer.status_code for answer in answers] == [401] * 4 + [200] + [429] * 4
    assert {read_limit(answer).scope for answer in answers} == {"anon"}


def test_an_exhausted_address_does_not_affect_others(settings):
    set_limits(settings, user="2/min", anon="1/min")
    assert [get(REMOTE_ADDR="192.0.2.1").status_code for _ in range(2)] == [200, 429]

    assert get(REMOTE_ADDR="192.0.2.2").status_code == 200
    assert get(token=signed(claims()), REMOTE_ADDR="192.0.2.1").status_code == 200


@pytest.mark.parametrize(
    ("addresses", "are_one"),
    [
        (("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"), True),
        (("2001:db8:1:2::1", "2001:DB8:1:2::"), True),
        (("2001:db8:1:2::1", "2001:db8:1:3::1"), False),
        (("fe80::1%eth0", "fe80::2%eth1"), True),
        (("192.0.2.1", "192.0.2.2"), False),
        (("192.0.2.1", "::ffff:192.0.2.1"), True),
        (("::ffff:192.0.2.1", "::ffff:192.0.2.2"), False),
        (("", "unix:"), True),
    ],
)
def test_addresses_of_one_client_share_a_limit(settings, addresses, are_one):
    set_limits(settings, anon="1/min")

    statuses = [get(REMOTE_ADDR=address).status_code for address in addresses]

    assert statuses == [200, 429 if are_one else 200]


def test_networks_of_an_ipv6_site_share_ten_times_the_limit(settings):
    set_limits(settings, anon="2/min")

    answers = [get(REMOTE_ADDR=f"2001:db8:1:{number * 3000:x}::1") for number in range(22)]

    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 2
    assert [[each.scope for each in read_limits(answer)] for answer in answers] == [["anon", "anon-site"]] * 22
    assert answers[0].headers["RateLimit-Policy"] == '"anon";q=2;w=60, "anon-site";q=20;w=60'
    assert [read_limits(answer)[1].left for answer in answers] == [*reversed(range(20)), 0, 0]
    assert 0 < read_retry_after(answers[21]) <= 60
    assert get(REMOTE_ADDR="2001:db8:2::1").status_code == 200  # another site
    assert get(REMOTE_ADDR="2001:db8:1:ffff::1", token=signed(claims())).status_code == 200  # an account


def test_one_network_does_not_exhaust_the_limit_of_its_site(settings):
    set_limits(settings, anon="2/min")

    answers = [get(REMOTE_ADDR="2001:db8:1:1::1") for _ in range(50)]

    assert [answer.status_code for answer in answers] == [200] * 2 + [429] * 48
    assert [each.scope for each in read_limits(answers[49])] == ["anon"]
    other = get(REMOTE_ADDR="2001:db8:1:2::1")
    assert (other.status_code, read_limits(other)[1].left) == (200, 17)


@COMMITTING
def test_the_limit_of_a_site_is_exact_under_concurrency(settings):
    set_limits(settings, anon="1/min")
    numbers = count()

    answers = together(30, lambda: get(REMOTE_ADDR=f"2001:db8:1:{next(numbers):x}::1"))

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 20


@pytest.mark.parametrize(("address", "statements"), [("192.0.2.1", 1), ("::ffff:192.0.2.1", 1), ("2001:db8::1", 2)])
def test_ipv4_costs_one_statement_and_ipv6_one_more(settings, address, statements):
    set_limits(settings, anon="2/min")

    with CaptureQueriesContext(connection) as captured:
        answer = get(REMOTE_ADDR=address)

    assert len(captured) == len(read_limits(answer)) == statements


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_spoofed_addresses_do_not_raise_a_limit(settings, header):
    set_limits(settings, anon="5/min")

    statuses = [get(headers={header: f"203.0.113.{number}"}).status_code for number in range(10)]

    assert statuses == [200] * 5 + [429] * 5


def test_the_gateway_names_the_client_to_count(settings):
    set_limits(settings, anon="1/min")
    settings.GATEWAY_ADDRESSES = [ipaddress.ip_network("192.0.2.1")]
    clients = ("203.0.113.1", "203.0.113.2", "203.0.113.9, 203.0.113.1", "2001:db8::1", "2001:db8::2")

    statuses = [get(REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": client}).status_code for client in clients]

    assert statuses == [200, 200, 429, 200, 429]


@COMMITTING
@pytest.mark.parametrize(("is_signed_in", "allowed"), [(False, 5), (True, 10)])
def test_fifty_concurrent_requests_get_exactly_the_limit(settings, is_signed_in, allowed):
    set_limits(settings, user="10/min", anon="5/min")
    token = signed(claims()) if is_signed_in else None

    answers = together(50, lambda: get(token=token))

    assert sorted(answer.status_code for answer in answers) == [200] * allowed + [429] * (50 - allowed)
    assert sorted(read_limit(answer).left for answer in answers if answer.status_code == 200) == list(range(allowed))


def test_a_limit_that_is_off_counts_nothing_and_adds_no_headers(settings, django_assert_num_queries):
    set_limits(settings, user=None, anon="1/min")

    with django_assert_num_queries(0):
        answers = [get(token=signed(claims())) for _ in range(20)]

    assert [(answer.status_code, read_limits(answer)) for answer in answers] == [(200, [])] * 20
    assert not Window.objects.exists()
