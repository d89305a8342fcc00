"""How a request proves who sends it: a bearer token in the Authorization header (RFC 6750 section 2.1)."""

import logging

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from chassis.auth import tokens
from chassis.auth.limits import Counted
from chassis.auth.tokens import Caller, InvalidToken, ServiceCaller

log = logging.getLogger(__name__)


class BearerAuthentication(BaseAuthentication):
    """Accept an access token. A service that knows more of its users than the token says extends `confirm`."""

    def authenticate(self, request: Request) -> tuple[Caller | ServiceCaller, Counted | None] | None:
        """Return the caller, and the count of this request where it was taken on the way (see throttling)."""
        header = request.headers.get("Authorization")
        if header is None:
            return None
        token = bearer_token(header)
        try:
            return self.identify(token, counting=True)
        except InvalidToken as error:
            log.info("token refused: %s", error)
            raise AuthenticationFailed("The token is invalid or has expired.", code="token_invalid") from error

    def identify(self, token: str, *, counting: bool = False) -> tuple[Caller | ServiceCaller, Counted | None]:
        return self.confirm(tokens.verify_access(token), counting=counting)

    def confirm(self, caller: Caller, *, counting: bool) -> tuple[Caller, Counted | None]:
        """Return the caller as of now, or raise InvalidToken."""
        return caller, None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="tmservice"'


class ServiceAuthentication(BearerAuthentication):
    """Accept the token of another service of ours, and no user's."""

    def identify(self, token: str, *, counting: bool = False) -> tuple[ServiceCaller, None]:
        return tokens.verify_service(token), None


def bearer_token(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token or not token.isascii() or " " in token or "," in token:
        raise AuthenticationFailed("The Authorization header must be: Bearer <access token>.", code="token_invalid")
    return token
