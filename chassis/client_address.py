"""Whose address a request came from."""

import ipaddress

from django.conf import settings
from rest_framework.request import Request


def client_address(request: Request) -> str | None:
    """Return the client's IP address: what the gateway says where it is the gateway that asks, else the peer's own.

    The gateway overwrites X-Forwarded-For; from anyone else the header is a claim.
    """
    peer = address_in(request.META.get("REMOTE_ADDR", ""))
    if peer in settings.GATEWAY_ADDRESSES:
        return address_in(request.headers.get("X-Forwarded-For", "")) or peer
    return peer


def address_in(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # the zone means something on one machine alone
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)  # as a socket for both kinds tells an IPv4 peer
