"""Whose address a request came from."""

import ipaddress
from collections.abc import Callable
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

current: ContextVar[str | None] = ContextVar("client_address", default=None)


class ClientAddressMiddleware:
    """Keep the client's address for the security log. Outside requests there is none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        current.set(client_address(request))
        return self.get_response(request)


def client_address(request: HttpRequest | Request) -> str | None:
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
