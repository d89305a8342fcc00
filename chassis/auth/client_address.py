"""The client address of a request."""

import hmac
import ipaddress
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

# The gateway sends both if it has the secret, and drops headers of these names from clients.
SECRET_HEADER, CLIENT_HEADER = "X-Gateway-Secret", "X-Gateway-Client"

current: ContextVar[str | None] = ContextVar("client_address", default=None)


class ClientAddressMiddleware:
    """Store the client's address for the security log; outside requests it is None."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        current.set(client_address(request))
        return self.get_response(request)


def client_address(request: HttpRequest | Request) -> str | None:
    """Return the client's IP address: from the gateway's header if the gateway sent the request, otherwise the peer's.

    With GATEWAY_SECRET the gateway sends the client in a separate header, because proxies between it and the service
    append to X-Forwarded-For. Without the secret it overwrites X-Forwarded-For, which is not trusted from others.
    GATEWAY_ADDRESSES may list a chain of proxies: the client is the last forwarder that is not one of them.
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


@lru_cache(maxsize=1000)
def parse_ip(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # a zone is only valid on one machine
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)  # how a dual-stack socket reports an IPv4 peer
