"""How many requests one client may have in flight: a small share of the slots."""

import json
import select
from contextlib import contextmanager
from threading import Event

import pytest

from tests.local_stack import eventually
from tests.raw_http import FakeService, Gateway, answer, connections, hold, lines, rest

SHARE = 8
SITE_SHARE = 4 * SHARE
MAX_REQUESTS = 100  # per client, including cached pages
ORIGIN = "https://app.example.com"
REFUSED = (429, "too_many_connections", ["1"])


@pytest.fixture
def service():
    with FakeService() as running:
        yield running


@contextmanager
def gateway_for(service, **settings):
    settings |= {"TRUSTED_PROXIES": "127.0.0.99", "CORS_ALLOWED_ORIGINS": ORIGIN}
    with Gateway(user_service=service.address, task_service=service.address, settings=settings) as running:
        yield running


@pytest.fixture
def gateway(service):
    with gateway_for(service) as running:
        yield running


@contextmanager
def waiting(gateway, service, addresses, *, path="/task/tasks/"):
    """Keep one request of each client in flight; yield the connections."""
    until, before = Event(), len(service.requests)
    service.behavior = hold(until)
    with connections(gateway.port, len(addresses), each_sends=b"", source="127.0.0.99") as opened:
        for connection, address in zip(opened, addresses, strict=True):
            connection.sendall(lines("GET", path, X_Forwarded_For=address))
        eventually(lambda: answered(opened) + len(service.requests) - before >= len(addresses))
        service.behavior = answer()
        yield opened
        until.set()


def answered(opened):
    return len(select.select(opened, [], [], 0)[0])


def call(gateway, address, method="GET", path="/task/tasks/", **headers):
    return gateway.call(method, path, source="127.0.0.99", X_Forwarded_For=address, **headers)


def refusal(problem):
    return problem.status, problem.json()["code"], problem.all("Retry-After")


OTHER_CALLS = [
    *(("POST", "/token/", {}), ("GET", "/user/me/", {}), ("PATCH", "/task/tasks/1/", {})),
    ("POST", "/task/tasks/", {"Idempotency_Key": "k"}),
]


@pytest.mark.parametrize(("method", "path", "headers"), OTHER_CALLS)
def test_a_share_counts_all_calls_of_both_services(gateway, service, method, path, headers):
    with waiting(gateway, service, ["203.0.113.1"] * SHARE):
        refused = call(gateway, "203.0.113.1", method, path, Origin=ORIGIN, **headers)
        other = call(gateway, "203.0.113.2", method, path)

    assert refusal(refused) == REFUSED
    assert refused["Access-Control-Allow-Origin"] == ORIGIN
    assert other.status == 200
    eventually(lambda: call(gateway, "203.0.113.1").status == 200)  # earlier requests have ended


def test_of_fifty_concurrent_requests_exactly_the_share_passes(gateway, service):
    with waiting(gateway, service, ["203.0.113.1"] * 50) as opened:
        assert (answered(opened), len(service.requests)) == (50 - SHARE, SHARE)


def test_a_request_with_an_unfinished_body_counts(gateway, service):
    unfinished = lines("POST", "/task/tasks/", b"{}")[:-1]
    with connections(gateway.port, SHARE + 5, each_sends=unfinished) as opened:
        eventually(lambda: answered(opened) == 5)
        refused = gateway.call("GET", "/task/tasks/", source="127.0.9.1")

    assert refusal(refused) == REFUSED
    assert service.requests == []


def test_addresses_of_one_ipv6_network_are_one_client(gateway, service):
    with waiting(gateway, service, [f"2001:db8:0:1:{number}::1" for number in range(SHARE)]):
        refused = call(gateway, "2001:db8:0:1:ffff:ffff:ffff:ffff")
        other = call(gateway, "2001:db8:0:2::1")

    assert refusal(refused) == REFUSED
    assert other.status == 200


def test_all_networks_of_one_ipv6_site_have_four_shares(gateway, service):
    addresses = [f"2001:db8:1:{number}::1" for number in range(SITE_SHARE)]
    with waiting(gateway, service, addresses):
        refused = call(gateway, "2001:db8:1:ffff::1")
        other_site = call(gateway, "2001:db8:2::1")
        ipv4 = call(gateway, "203.0.113.1")

    assert refusal(refused) == REFUSED
    assert (other_site.status, ipv4.status) == (200, 200)


def test_similar_ipv4_addresses_are_different_clients(gateway, service):
    with waiting(gateway, service, [f"203.0.113.{number}" for number in range(SITE_SHARE + 1)]):
        assert call(gateway, "203.0.113.0").status == 200


@pytest.mark.parametrize("address", ["203.0.113.1", "2001:db8::{number:x}"])
def test_a_client_may_have_at_most_100_requests_in_flight(gateway, service, address):
    addresses = [address.format(number=number) for number in range(MAX_REQUESTS)]
    until = Event()
    service.behavior = hold(until)
    with connections(gateway.port, MAX_REQUESTS + 5, each_sends=b"", source="127.0.0.99") as opened:
        for connection, source in zip(opened, [*addresses, *addresses[:5]], strict=True):
            connection.sendall(lines("GET", "/task/docs/", X_Forwarded_For=source))
        eventually(lambda: answered(opened) >= 5)
        refused = call(gateway, addresses[0], path="/user/docs/")
        refused_at_once = answered(opened)
        until.set()
        statuses = sorted(rest(connection).split(b" ")[1] for connection in opened)

    assert (refusal(refused), refused_at_once) == (REFUSED, 5)
    assert statuses == [b"200"] * MAX_REQUESTS + [b"429"] * 5


def test_the_share_is_a_setting(service):
    with gateway_for(service, MAX_REQUESTS_PER_CLIENT="2") as running:
        with waiting(running, service, ["203.0.113.1"] * 2):
            assert refusal(call(running, "203.0.113.1")) == REFUSED
        with waiting(running, service, [f"2001:db8:1:{number}::1" for number in range(8)]):
            assert refusal(call(running, "2001:db8:1:ffff::1")) == REFUSED


ANONYMOUS = ["/token/", "/token/refresh/", "/user/register/", "/user/password-reset/", "/user/email/confirm/"]


@pytest.mark.parametrize("path", ANONYMOUS)
def test_a_call_without_a_token_may_have_only_a_small_body(gateway, service, path):
    body = json.dumps({"username": "x" * 16_384}).encode()

    refused = gateway.call("POST", path, body)
    taken = gateway.call("POST", path, body[:16_384])

    assert (refused.status, refused.json()["code"]) == (413, "payload_too_large")
    assert refused.json()["detail"] == "The body is larger than 16 kB."
    assert (taken.status, [request.body for request in service.requests]) == (200, [body[:16_384]])


def test_a_large_chunked_body_is_refused(gateway, service):
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    request = lines("POST", "/token/", Transfer_Encoding="chunked") + chunk * 3 + b"0\r\n\r\n"

    with connections(gateway.port, 1, each_sends=request) as (connection,):
        assert rest(connection).startswith(b"HTTP/1.1 413 ")
    assert service.requests == []
