"""Whose address a request came from."""

import ipaddress

from django.conf import settings
from rest_framework.request import Request


def client_address(request: Request) -> str:
    """Return the client's IP address: what the gateway says where it is the gateway that asks, else the peer's own.

    The gateway overwrites X-Forwarded-For; from anyone else the header is a claim.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.headers.get("X-Forwarded-For", "")
    if peer in settings.GATEWAY_ADDRESSES and is_address(forwarded):
        return forwarded
    return peer


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
