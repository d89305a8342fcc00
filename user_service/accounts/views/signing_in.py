"""Signing up, in and out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import tokens
from accounts.authentication import RefreshTokenAuthentication, SignOutAuthentication
from accounts.models import AccountGone, Device, Session, TooManyFailures, User
from accounts.models.session import clean_user_agent
from accounts.serializers import (
    CredentialsSerializer,
    RefreshSerializer,
    RegistrationSerializer,
    TokenSerializer,
    UserSerializer,
)
from accounts.views.conflicts import conflicts_named, too_many_failures
from chassis.api.views import Endpoint
from chassis.auth.client_address import client_address
from chassis.auth.gate import IPV6_PREFIX_BITS, REALM, network_of
from chassis.auth.permissions import IsAuthenticated
from chassis.auth.signup import signup_budget
from chassis.auth.tokens import Caller, InvalidToken

INVITE = "invite"
KEY_SET_CACHING = "public, max-age=300"


class Register(Endpoint):
    permission_classes = [AllowAny]
    serializer_class = RegistrationSerializer

    def post(self, request: Request) -> Response:
        if settings.REGISTRATION == INVITE and not is_admin(request):
            raise PermissionDenied("Accounts are made by admins alone; ask one of them.", code="registration_closed")
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        if serializer.validated_data["role"] == User.Role.ADMIN and not is_admin(request):
            raise PermissionDenied("Only an admin can make an admin.")
        by = request.user if isinstance(request.user, Caller) else None
        with conflicts_named(), signup_budget(request):
            confirmed = is_admin(request)
            user = User.objects.register(**serializer.validated_data, email_confirmed=confirmed, by=by)
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED)


def is_admin(request: Request) -> bool:
    return isinstance(request.user, Caller) and request.user.is_admin


class TokenEndpoint(Endpoint):
    """Who comes for a token need not bring one: an Authorization header left over from before is not looked at."""

    authentication_classes: Any = []
    permission_classes = [AllowAny]

    def get_authenticate_header(self, request: Request) -> str:  # a wrong password is a 401 too
        return f'Bearer realm="{REALM}"'

    def validated(self) -> dict[str, Any]:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


@contextmanager
def refusing_invalid_tokens() -> Iterator[None]:
    try:
        yield
    except InvalidToken as error:
        raise AuthenticationFailed("The token is invalid or has expired.", code="token_invalid") from error


class ObtainToken(TokenEndpoint):
    serializer_class = CredentialsSerializer

    def post(self, request: Request) -> Response:
        credentials = self.validated()
        address, device = client_address(request), device_of(request)
        try:
            user = User.objects.signing_in(
                login=credentials["username"], password=credentials["password"], device=device
            )
            session = Session.objects.open(user, user_agent=device.user_agent, address=address)
        except AccountGone as error:
            detail = "No active account has this name and password."
            raise AuthenticationFailed(detail, code="credentials_invalid") from error
        except TooManyFailures as error:
            raise too_many_failures(error) from error
        return Response(tokens.pair(session))


def device_of(request: Request) -> Device:
    user_agent = clean_user_agent(request.headers.get("User-Agent", ""))
    return Device(network=network_of(client_address(request), IPV6_PREFIX_BITS), user_agent=user_agent)


class RefreshToken(TokenEndpoint):
    authentication_classes = [RefreshTokenAuthentication]
    serializer_class = RefreshSerializer

    def post(self, request: Request) -> Response:
        with refusing_invalid_tokens():
            pair = tokens.refresh(self.validated()["refresh"])
        return Response(pair)


class VerifyToken(TokenEndpoint):
    """Say whether an access or refresh token is good at this moment, and for what."""

    serializer_class = TokenSerializer

    def post(self, request: Request) -> Response:
        with refusing_invalid_tokens():
            tokens.check(self.validated()["token"])
        return Response({})


class KeySet(TokenEndpoint):
    """The public keys by which anybody can verify people's tokens (RFC 7517): none without a key pair."""

    throttle_classes: list[Any] = []  # it costs no statement, and whoever verifies by it must not be refused

    def get(self, request: Request) -> Response:
        keys = [key.to_jwk() for key in settings.JWT_PUBLIC_KEYS]
        return Response({"keys": keys}, headers={"Cache-Control": KEY_SET_CACHING})


class Logout(TokenEndpoint):
    """End the session of a refresh token. To do so twice does no harm."""

    authentication_classes = [SignOutAuthentication]
    serializer_class = RefreshSerializer

    def post(self, request: Request) -> Response:
        with refusing_invalid_tokens():
            tokens.end(self.validated()["refresh"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class LogoutAll(Endpoint):
    """End all sessions of the caller."""

    permission_classes = [IsAuthenticated]

    def post(self, request: Request) -> Response:
        with conflicts_named():
            get_object_or_404(User, pk=self.caller.id).sign_out_everywhere(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)
