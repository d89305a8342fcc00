"""Sign-up, sign-in and sign-out."""

from typing import Any

from django.conf import settings
from drf_yasg.openapi import Response as Described
from drf_yasg.utils import swagger_auto_schema
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
from accounts.examples import PASSWORD, TOKEN
from accounts.models import AccountGone, TooManyFailures, User
from accounts.openapi import GONE, LOCKED, SIGNING_IN, TAKEN, KeySetSerializer, NothingSerializer, TokensSerializer
from accounts.serializers import RegistrationSerializer, UserSerializer
from accounts.token_serializers import CredentialsSerializer, RefreshSerializer, TokenSerializer
from accounts.views.conflicts import as_http_errors, too_many_failures
from chassis.api.views import Endpoint
from chassis.auth.gate import REALM
from chassis.auth.permissions import IsAuthenticated
from chassis.auth.signup import signup_budget
from chassis.auth.tokens import Caller, InvalidToken

INVITE = "invite"
KEY_SET_CACHE_CONTROL = "public, max-age=300"


class Register(Endpoint):
    tag = SIGNING_IN
    permission_classes = [AllowAny]
    serializer_class = RegistrationSerializer

    @swagger_auto_schema(
        operation_id="register",
        operation_summary="Sign up",
        operation_description="Creates an account with the role `user`. Only an admin can request another role. With "
        "`REGISTRATION=invite`, only an admin can create accounts.",
        responses={
            201: Described("The new account.", UserSerializer),
            403: "Only an admin can create an admin, or any account if `REGISTRATION=invite` (`registration_closed`).",
            409: TAKEN,
        },
        example={"username": "alice", "email": "alice@example.com", "password": PASSWORD},
    )
    def post(self, request: Request) -> Response:
        if settings.REGISTRATION == INVITE and not is_admin(request):
            raise PermissionDenied("Only an admin can create accounts.", code="registration_closed")
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        if serializer.validated_data["role"] == User.Role.ADMIN and not is_admin(request):
            raise PermissionDenied("Only an admin can create an admin.")
        by = request.user if isinstance(request.user, Caller) else None
        with as_http_errors(), signup_budget(request):
            confirmed = is_admin(request)
            user = User.objects.register(**serializer.validated_data, email_confirmed=confirmed, by=by)
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED)


def is_admin(request: Request) -> bool:
    return isinstance(request.user, Caller) and request.user.is_admin


class TokenEndpoint(Endpoint, TokenViewBase):
    """Ignores the Authorization header: a client that wants a token may still send an old one."""

    tag = SIGNING_IN
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
            detail = "No active account has these credentials."
            raise AuthenticationFailed(detail, code="credentials_invalid") from error
        except TooManyFailures as error:
            raise too_many_failures(error) from error


class ObtainToken(TokenEndpoint, TokenObtainPairView):
    @swagger_auto_schema(
        operation_id="signIn",
        operation_summary="Sign in",
        operation_description="Opens a session. Paste `access` into *Authorize*.",
        request_body=CredentialsSerializer,
        responses={
            200: Described("The tokens of the session.", TokensSerializer),
            401: "No active account has this username or email and this password.",
            429: LOCKED,
        },
        example={"username": "alice", "password": PASSWORD},
    )
    def post(self, request: Request) -> Response:
        return super().post(request)


class RefreshToken(TokenEndpoint, TokenRefreshView):
    authentication_classes: Any = [RefreshTokenAuthentication]

    @swagger_auto_schema(
        operation_id="refreshTokens",
        operation_summary="Refresh the tokens",
        operation_description="A refresh token can be used once. Using it again ends the session, except within ten "
        "seconds, when it repeats a lost response. With a valid token, the request counts against the limit of the "
        "account, otherwise against the limit of the address.",
        request_body=RefreshSerializer,
        responses={
            200: Described("The next tokens of the session.", TokensSerializer),
            401: "The refresh token is invalid, expired or already used.",
        },
        example={"refresh": TOKEN},
    )
    def post(self, request: Request) -> Response:
        return super().post(request)


class VerifyToken(TokenEndpoint, TokenVerifyView):
    @swagger_auto_schema(
        operation_id="verifyToken",
        operation_summary="Verify a token",
        operation_description="Accepts access and refresh tokens.",
        request_body=TokenSerializer,
        responses={
            200: Described("The token is valid.", NothingSerializer),
            401: "The token is invalid, expired or revoked.",
        },
        example={"token": TOKEN},
    )
    def post(self, request: Request) -> Response:
        return super().post(request)


class Logout(TokenEndpoint, TokenBlacklistView):
    authentication_classes: Any = [SignOutAuthentication]

    @swagger_auto_schema(
        operation_id="signOut",
        operation_summary="Sign out",
        operation_description="Ends the session of a refresh token. Repeating the request does no harm. With a token "
        "of an open session, the request counts against the limit of the account, otherwise against the limit of the "
        "address.",
        request_body=RefreshSerializer,
        responses={204: "The session has ended.", 401: "The token is not a refresh token, or it has expired."},
        example={"refresh": TOKEN},
    )
    def post(self, request: Request) -> Response:
        super().post(request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class KeySet(Endpoint):
    """The public keys that verify access tokens (RFC 7517); empty without a key pair."""

    tag = SIGNING_IN
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes: list[Any] = []  # it needs no SQL statement, and verifiers must always get it

    @swagger_auto_schema(
        operation_id="readKeySet",
        operation_summary="Read the public keys that verify tokens",
        operation_description="A JSON Web Key Set (RFC 7517). Clients may cache it for five minutes. It is empty while "
        "a shared key signs the tokens.",
        responses={200: Described("The keys.", KeySetSerializer)},
        headers=["Cache-Control"],
    )
    def get(self, request: Request) -> Response:
        keys = [key.to_jwk() for key in settings.JWT_PUBLIC_KEYS]
        return Response({"keys": keys}, headers={"Cache-Control": KEY_SET_CACHE_CONTROL})


class LogoutAll(Endpoint):
    tag = SIGNING_IN
    permission_classes = [IsAuthenticated]

    @swagger_auto_schema(
        operation_id="signOutEverywhere",
        operation_summary="Sign out everywhere",
        operation_description="Ends all sessions of the caller and revokes all their tokens.",
        responses={204: "All sessions have ended."} | GONE,
    )
    def post(self, request: Request) -> Response:
        with as_http_errors():
            get_object_or_404(User, pk=self.caller.id).sign_out_everywhere(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)
