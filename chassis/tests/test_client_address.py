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
    if peer is None:
        del request.META["REMOTE_ADDR"]
    return client_address(APIView().initialize_request(request))


@pytest.mark.parametrize("peer", [GATEWAY, "2001:db8::1"])
@pytest.mark.parametrize("client", ["203.0.113.7", "2001:db8::7", "127.0.0.1"])
def test_the_gateway_names_the_client(peer, client):
    assert ipaddress.ip_address(address(peer, client)) == ipaddress.ip_address(client)


@pytest.mark.parametrize("peer", ["198.51.100.9", "192.0.2.10", "192.0.2.11", "127.0.0.1", "2001:db8::11"])
def test_the_header_is_ignored_from_other_peers(peer):
    assert address(peer, "203.0.113.7") == peer


def test_without_a_gateway_the_header_is_ignored(settings):
    settings.GATEWAY_ADDRESSES = []

    assert address("127.0.0.1", "203.0.113.7") == "127.0.0.1"
    assert address("", "203.0.113.7") is None


@pytest.mark.parametrize(
    "forwarded",
    [
        *(None, "", " ", "unknown", "localhost", "203.0.113.7,", "203.0.113.7:4711", "[2001:db8::7]", "203.0.113"),
        *("203.0.113.256", "203.0.113.07", "203.0.113.7/32", "3405803783", "0xcb007107", "\u0662\u0660\u0663.0.113.7"),
        *("203.0.113.7\0", "203.0.113.7\r\nX: y", "' OR 1=1 --", "x" * 100_000),
    ],
    ids=lambda value: ascii(value)[:20],
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


@pytest.mark.parametrize("secret", [SECRET, ""])
@pytest.mark.parametrize("sent", [None, "", SECRET[:-1], f"{SECRET}x", SECRET.lower(), f"{SECRET}, {SECRET}", "\u00e9"])
def test_a_wrong_or_empty_secret_does_not_name_a_client(settings, secret, sent):
    settings.GATEWAY_SECRET = secret
    claimed = {"X-Gateway-Client": "203.0.113.7"} | ({} if sent is None else {"X-Gateway-Secret": sent})

    assert address(EDGE, "203.0.113.7", **claimed) == EDGE


@pytest.mark.parametrize("client", ["", "unknown", "203.0.113.7, 203.0.113.8"])
def test_an_invalid_client_header_is_ignored_despite_the_secret(settings, client):
    settings.GATEWAY_SECRET = SECRET

    assert address(EDGE, **{"X-Gateway-Secret": SECRET, "X-Gateway-Client": client}) == EDGE


@pytest.mark.parametrize("peer", ["", "unix:", "192.0.2.", "/run/service.sock", None])
def test_a_peer_on_a_unix_socket_has_no_address(peer):
    assert address(peer) is None
    assert address(peer, "203.0.113.7") is None


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        # A zone names an interface of one machine, and PostgreSQL rejects it.
        *((f"fe80::1%{zone}", "fe80::1") for zone in ("eth0", "enx001122334455", "x" * 5000)),
        *[("2001:DB8::7", "2001:db8::7"), ("2001:0db8:0:0::7", "2001:db8::7"), ("::ffff:203.0.113.7", "203.0.113.7")],
    ],
    ids=lambda value: value[:20],
)
def test_an_address_has_one_spelling(spelling, normal):
    """Otherwise each would count as a separate caller."""
    assert address(spelling) == normal
    assert address(GATEWAY, spelling) == normal
