"""Whose address a request came from."""

import hmac
import ipaddress
from collections.abc import Callable
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

# The gateway sends both where it knows the secret, and drops what a client sends under these names.
SECRET_HEADER, CLIENT_HEADER = "X-Gateway-Secret", "X-Gateway-Client"

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

    With GATEWAY_SECRET the gateway names the client in a header of its own, since proxies between it and the service
    add to X-Forwarded-For. Without the secret it overwrites X-Forwarded-For, which from anyone else is a claim.
    GATEWAY_ADDRESSES may name several in a row: of those who passed the request on, the last that is none of them is
    the client.
    """
    address = parse_ip(request.META.get("REMOTE_ADDR", ""))
    if knows_secret(request):
        return parse_ip(request.headers.get(CLIENT_HEADER, "")) or address
    passed_on = request.headers.get("X-Forwarded-For", "").split(",")
    while is_gateway(address) and passed_on:
        before = parse_ip(passed_on.pop().strip())
        if before is None:
            break
        address = before
    return address


def comes_from_gateway(request: HttpRequest | Request) -> bool:
    return knows_secret(request) or is_gateway(parse_ip(request.META.get("REMOTE_ADDR", "")))


def knows_secret(request: HttpRequest | Request) -> bool:
    sent = request.headers.get(SECRET_HEADER, "").encode()
    return bool(settings.GATEWAY_SECRET) and hmac.compare_digest(sent, settings.GATEWAY_SECRET.encode())


def is_gateway(address: str | None) -> bool:
    return address is not None and any(ipaddress.ip_address(address) in each for each in settings.GATEWAY_ADDRESSES)


def parse_ip(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # the zone means something on one machine alone
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)  # as a socket for both kinds tells an IPv4 peer
