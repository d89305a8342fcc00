"""Whose address a request came from."""

import ipaddress

from django.conf import settings
from rest_framework.request import Request


def client_address(request: Request) -> str | None:
    """Return the client's IP address: what the gateway says where it is the gateway that asks, else the peer's own.

    The gateway overwrites X-Forwarded-For; from anyone else the header is a claim. GATEWAY_ADDRESSES may name several
    in a row: of those who passed the request on, the last that is none of them is the client.
    """
    address = address_in(request.META.get("REMOTE_ADDR", ""))
    passed_on = request.headers.get("X-Forwarded-For", "").split(",")
    while is_gateway(address) and passed_on:
        before = address_in(passed_on.pop().strip())
        if before is None:
            break
        address = before
    return address


def is_gateway(address: str | None) -> bool:
    return address is not None and any(ipaddress.ip_address(address) in each for each in settings.GATEWAY_ADDRESSES)


def address_in(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # the zone means something on one machine alone
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)  # as a socket for both kinds tells an IPv4 peer
