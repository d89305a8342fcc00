"""Middleware that both services stand on."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import is_valid_path
from django.utils.cache import patch_vary_headers

GetResponse = Callable[[HttpRequest], HttpResponse]


class KnownHostMiddleware:
    """Answer only to ALLOWED_HOSTS: Django checks the Host header when it is asked for it, which no view here does."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.get_host()  # raises DisallowedHost, which Django answers with 400
        return self.get_response(request)


class OptionalSlashMiddleware:
    """Serve /task/tasks exactly as /task/tasks/, whatever the method: a redirect would drop a POST's body."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.endswith("/") and is_valid_path(f"{request.path_info}/"):
            request.path_info += "/"
        return self.get_response(request)


class PrivateAnswerMiddleware:
    """Keep answers out of shared caches: what one caller may see is not for the next (RFC 9111 section 3.5)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Cache-Control", "no-store")
        patch_vary_headers(response, ["Authorization"])
        return response
