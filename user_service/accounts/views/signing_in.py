"""Signing up, in and out."""

from collections.abc import Iterator
from contextlib import contextmanager
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

from accounts import tokens
from accounts.authentication import AccountAuthentication
from accounts.examples import PASSWORD, TOKEN
from accounts.models import AccountGone, Device, Session, TooManyFailures, User
from accounts.models.session import clean_user_agent
from accounts.openapi import GONE, LOCKED, SIGNING_IN, TAKEN, KeySetSerializer, NothingSerializer, TokensSerializer
from accounts.serializers import (
    CredentialsSerializer,
    RefreshSerializer,
    RegistrationSerializer,
    TokenSerializer,
    UserSerializer,
)
from accounts.throttling import LogoutThrottle, RefreshThrottle
from accounts.views.conflicts import conflicts_named, too_many_failures
from chassis.api.views import Endpoint
from chassis.auth.client_address import client_address
from chassis.auth.permissions import IsAuthenticated
from chassis.auth.throttling import IPV6_PREFIX_BITS, network_of, signup_budget
from chassis.auth.tokens import Caller, InvalidToken

INVITE = "invite"
KEY_SET_CACHING = "public, max-age=300"


class Register(Endpoint):
    tag = SIGNING_IN
    permission_classes = [AllowAny]
    serializer_class = RegistrationSerializer

    @swagger_auto_schema(
        operation_id="register",
        operation_summary="Sign up",
        operation_description="Makes an account of role `user`. Only admins may ask for another role, and only they "
        "make accounts where `REGISTRATION=invite` is set.",
        responses={
            201: Described("The new account.", UserSerializer),
            403: "Only an admin can make an admin, or any account (`registration_closed`).",
            409: TAKEN,
        },
        example={"username": "alice", "email": "alice@example.com", "password": PASSWORD},
    )
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

    tag = SIGNING_IN
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]

    def get_authenticate_header(self, request: Request) -> str:  # a wrong password is a 401 too
        return 'Bearer realm="tmservice"'

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

    @swagger_auto_schema(
        operation_id="signIn",
        operation_summary="Sign in",
        operation_description="Opens a session. Paste `access` into *Authorize*.",
        responses={
            200: Described("The tokens of the session.", TokensSerializer),
            401: "No active account has this name and password.",
            429: LOCKED,
        },
        example={"username": "alice", "password": PASSWORD},
    )
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
    throttle_classes = [RefreshThrottle]
    serializer_class = RefreshSerializer

    @swagger_auto_schema(
        operation_id="refreshTokens",
        operation_summary="Get the next pair of tokens",
        operation_description="A refresh token is good once: who uses it again, other than to repeat a lost answer "
        "within ten seconds, ends the session. With a good token it counts as a request of the account, else of the "
        "address.",
        responses={
            200: Described("The next tokens of the session.", TokensSerializer),
            401: "The refresh token is not good, or not any more.",
        },
        example={"refresh": TOKEN},
    )
    def post(self, request: Request) -> Response:
        with refusing_invalid_tokens():
            pair = tokens.refresh(self.validated()["refresh"])
        return Response(pair)


class VerifyToken(TokenEndpoint):
    """Say whether an access or refresh token is good at this moment, and for what."""

    serializer_class = TokenSerializer

    @swagger_auto_schema(
        operation_id="verifyToken",
        operation_summary="Ask whether a token is good",
        operation_description="Takes access and refresh tokens.",
        responses={
            200: Described("It is good at this moment.", NothingSerializer),
            401: "The token is not good, or not any more.",
        },
        example={"token": TOKEN},
    )
    def post(self, request: Request) -> Response:
        token = self.validated()["token"]
        try:
            AccountAuthentication().identify(token)
        except InvalidToken:
            with refusing_invalid_tokens():
                tokens.check(token)
        return Response({})


class KeySet(TokenEndpoint):
    """The public keys by which anybody can verify people's tokens (RFC 7517): none without a key pair."""

    throttle_classes: list[Any] = []  # it costs no statement, and whoever verifies by it must not be refused

    @swagger_auto_schema(
        operation_id="readKeySet",
        operation_summary="Read the public keys that verify tokens",
        operation_description="A JSON Web Key Set (RFC 7517), good for five minutes; empty while a shared key signs.",
        responses={200: Described("The keys.", KeySetSerializer)},
        headers=["Cache-Control"],
    )
    def get(self, request: Request) -> Response:
        keys = [key.to_jwk() for key in settings.JWT_PUBLIC_KEYS]
        return Response({"keys": keys}, headers={"Cache-Control": KEY_SET_CACHING})


class Logout(TokenEndpoint):
    """End the session of a refresh token. To do so twice does no harm."""

    throttle_classes = [LogoutThrottle]
    serializer_class = RefreshSerializer

    @swagger_auto_schema(
        operation_id="signOut",
        operation_summary="Sign out",
        operation_description="Ends the session of a refresh token. To do so twice does no harm. With a token of a "
        "session that lives it counts as a request of the account, else of the address.",
        responses={204: "The session has ended.", 401: "It is no refresh token, or an expired one."},
        example={"refresh": TOKEN},
    )
    def post(self, request: Request) -> Response:
        with refusing_invalid_tokens():
            tokens.end(self.validated()["refresh"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class LogoutAll(Endpoint):
    """End all sessions of the caller."""

    tag = SIGNING_IN
    permission_classes = [IsAuthenticated]

    @swagger_auto_schema(
        operation_id="signOutEverywhere",
        operation_summary="Sign out everywhere",
        operation_description="Ends all sessions of the caller, and every token made before.",
        responses={204: "All sessions have ended."} | GONE,
    )
    def post(self, request: Request) -> Response:
        with conflicts_named():
            get_object_or_404(User, pk=self.caller.id).sign_out_everywhere(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)
