"""Signing up, in and out."""

from typing import Any

from django.conf import settings
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.views import (
    TokenBlacklistView,
    TokenObtainPairView,
    TokenRefreshView,
    TokenVerifyView,
    TokenViewBase,
)

from accounts.authentication import RefreshTokenAuthentication, SignOutAuthentication
from accounts.models import AccountGone, TooManyFailures, User
from accounts.serializers import RegistrationSerializer, UserSerializer
from accounts.views.conflicts import as_http_errors, too_many_failures
from chassis.api.views import Endpoint
from chassis.auth.gate import REALM
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
        with as_http_errors(), signup_budget(request):
            confirmed = is_admin(request)
            user = User.objects.register(**serializer.validated_data, email_confirmed=confirmed, by=by)
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED)


def is_admin(request: Request) -> bool:
    return isinstance(request.user, Caller) and request.user.is_admin


class TokenEndpoint(Endpoint, TokenViewBase):
    """Who comes for a token need not bring one: an Authorization header left over from before is not looked at."""

    authentication_classes: Any = []
    permission_classes: Any = [AllowAny]
    www_authenticate_realm = REALM  # a wrong password is a 401 too

    def post(self, request: Request) -> Response:
        self.require_body()
        try:
            return super().post(request)
        except InvalidToken as error:
            raise AuthenticationFailed("The token is invalid or has expired.", code="token_invalid") from error
        except AccountGone as error:
            detail = "No active account has this name and password."
            raise AuthenticationFailed(detail, code="credentials_invalid") from error
        except TooManyFailures as error:
            raise too_many_failures(error) from error


class ObtainToken(TokenEndpoint, TokenObtainPairView):
    """Open a session."""


class RefreshToken(TokenEndpoint, TokenRefreshView):
    authentication_classes: Any = [RefreshTokenAuthentication]


class VerifyToken(TokenEndpoint, TokenVerifyView):
    """Say whether an access or refresh token is good at this moment, and for what."""


class Logout(TokenEndpoint, TokenBlacklistView):
    """End the session of a refresh token. To do so twice does no harm."""

    authentication_classes: Any = [SignOutAuthentication]

    def post(self, request: Request) -> Response:
        super().post(request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class KeySet(Endpoint):
    """The public keys by which anybody can verify people's tokens (RFC 7517): none without a key pair."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes: list[Any] = []  # it costs no statement, and whoever verifies by it must not be refused

    def get(self, request: Request) -> Response:
        keys = [key.to_jwk() for key in settings.JWT_PUBLIC_KEYS]
        return Response({"keys": keys}, headers={"Cache-Control": KEY_SET_CACHING})


class LogoutAll(Endpoint):
    """End all sessions of the caller."""

    permission_classes = [IsAuthenticated]

    def post(self, request: Request) -> Response:
        with as_http_errors():
            get_object_or_404(User, pk=self.caller.id).sign_out_everywhere(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)
