import ipaddress

import pytest
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from chassis.auth.client_address import client_address

GATEWAY = "192.0.2.1"


@pytest.fixture(autouse=True)
def _gateway(settings):
    settings.GATEWAY_ADDRESSES = networks(GATEWAY, "2001:db8::1")


def networks(*texts):
    return [ipaddress.ip_network(text) for text in texts]


def address(peer, forwarded=None, **headers):
    if forwarded is not None:
        headers["X-Forwarded-For"] = forwarded
    request = APIRequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)
    return client_address(APIView().initialize_request(request))


@pytest.mark.parametrize("peer", [GATEWAY, "2001:db8::1"])
@pytest.mark.parametrize("client", ["203.0.113.7", "2001:db8::7", "127.0.0.1"])
def test_the_gateway_names_the_client(peer, client):
    assert ipaddress.ip_address(address(peer, client)) == ipaddress.ip_address(client)


@pytest.mark.parametrize("peer", ["198.51.100.9", "192.0.2.10", "192.0.2.11", "127.0.0.1", "2001:db8::11"])
def test_the_start_header_is_ignored_from_other_peers(peer):
    assert address(peer, "203.0.113.7") == peer


def test_without_a_gateway_the_header_is_ignored(settings):
    settings.GATEWAY_ADDRESSES = []

    assert address("127.0.0.1", "203.0.113.7") == "127.0.0.1"
    assert address("", "203.0.113.7") is None


@pytest.mark.parametrize(
    "forwarded",
    [
        None,
        "",
        " ",
        "unknown",
        "localhost",
        "203.0.113.7,",
        "203.0.113.7:4711",
        "[2001:db8::7]",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.07",
        "203.0.113.7/32",
        "3405803783",
        "0xcb007107",
        "\u0662\u0660\u0663.0.113.7",
        "203.0.113.7\0",
        "203.0.113.7\r\nX: y",
        "' OR 1=1 --",
        "x" * 100_000,
    ],
)
def test_an_invalid_address_is_ignored(forwarded):
    assert address(GATEWAY, forwarded) == GATEWAY


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7, 198.51.100.9", "198.51.100.9"),
        ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("198.51.100.9,203.0.113.7 , 10.1.2.3,10.1.2.4", "203.0.113.7"),
        ("nonsense, 10.1.2.3", "10.1.2.3"),
        ("10.1.2.3, 10.1.2.4", "10.1.2.3"),
        ("203.0.113.7, 2001:db8:5::1", "203.0.113.7"),
    ],
)
def test_the_client_is_the_last_forwarder_that_is_not_a_gateway(settings, forwarded, client):
    settings.GATEWAY_ADDRESSES = networks(GATEWAY, "10.0.0.0/8", "2001:db8:5::/48")

    assert address(GATEWAY, forwarded) == client


@pytest.mark.parametrize(
    "header", ["X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Forwarded"]
)
def test_other_headers_have_no_effect(header):
    assert address(GATEWAY, **{header: "203.0.113.7"}) == GATEWAY


SECRET = "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5"
EDGE = "198.51.100.9"  # a proxy of the platform, shared with other customers


def test_a_gateway_with_the_secret_may_have_any_address(settings):
    settings.GATEWAY_SECRET = SECRET
    vouched = {"X-Gateway-Secret": SECRET, "X-Gateway-Client": "2001:DB8::7"}

    assert address(EDGE, "2001:db8::7, 192.0.2.77", **vouched) == "2001:db8::7"
    assert address(GATEWAY, "203.0.113.8", **vouched) == "2001:db8::7"
    assert address(GATEWAY, "203.0.113.8") == "203.0.113.8"  # GATEWAY_ADDRESSES still applies


@pytest.mark.parametrize("sent", [None, "", SECRET[:-1], f"{SECRET}x", SECRET.lower(), f"{SECRET}, {SECRET}", "\u00e9"])
def test_a_wrong_secret_does_not_name_a_client(settings, sent):
    settings.GATEWAY_SECRET = SECRET
    claimed = {"X-Gateway-Client": "203.0.113.7"} | ({} if sent is None else {"X-Gateway-Secret": sent})

    assert address(EDGE, "203.0.113.7", **claimed) == EDGE


def test_an_empty_secret_never_matches():
    assert address(EDGE, **{"X-Gateway-Secret": "", "X-Gateway-Client": "203.0.113.7"}) == EDGE


@pytest.mark.parametrize("client", ["", "unknown", "203.0.113.7, 203.0.113.8"])
def test_an_invalid_client_header_is_ignored_despite_the_secret(settings, client):
    settings.GATEWAY_SECRET = SECRET

    assert address(EDGE, **{"X-Gateway-Secret": SECRET, "X-Gateway-Client": client}) == EDGE


@pytest.mark.parametrize("peer", ["", "unix:", "192.0.2.", "/run/service.sock"])
def test_a_peer_on_a_unix_socket_has_no_address(peer):
    assert address(peer) is None
    assert address(peer, "203.0.113.7") is None


def test_without_a_peer_there_is_no_address():
    request = APIRequestFactory().get("/")
    del request.META["REMOTE_ADDR"]

    assert client_address(APIView().initialize_request(request)) is None


@pytest.mark.parametrize("zone", ["%eth0", "%enx001122334455", "%" + "x" * 5000])
def test_the_zone_of_an_address_is_removed(zone):
    """It names an interface of one machine, and PostgreSQL rejects it."""
    assert address(f"fe80::1{zone}") == "fe80::1"
    assert address(GATEWAY, f"fe80::1{zone}") == "fe80::1"


@pytest.mark.parametrize("spelling", ["2001:DB8::7", "2001:0db8:0:0::7"])
def test_an_address_is_normalized(spelling):
    """Otherwise each would count as a separate caller."""
    assert address(spelling) == "2001:db8::7"
    assert address(GATEWAY, spelling) == "2001:db8::7"


def test_an_ipv4_mapped_address_becomes_ipv4():
    assert address("192.0.2.1", "::ffff:203.0.113.7") == address("192.0.2.1", "203.0.113.7") == "203.0.113.7"
