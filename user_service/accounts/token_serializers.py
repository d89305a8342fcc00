"""Bodies of the token endpoints, based on simplejwt's serializers; named in SIMPLE_JWT."""

from typing import Any

from rest_framework.request import Request
from rest_framework_simplejwt.serializers import (
    TokenBlacklistSerializer,
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
    TokenVerifySerializer,
)

from accounts import tokens
from accounts.models import Device, Session, User
from accounts.models.session import clean_user_agent
from chassis.addresses import MAX_LENGTH
from chassis.api.fields import CappedField, SecretField
from chassis.api.serializers import StrictSerializer
from chassis.auth.client_address import client_address
from chassis.auth.gate import IPV6_PREFIX_BITS, network_prefix

MAX_TOKEN_LENGTH = 4096  # several times the length of our tokens


class CredentialsSerializer(StrictSerializer, TokenObtainPairSerializer):
    """Opens a session. Raises AccountGone and TooManyFailures."""

    username_field = "username"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # simplejwt's fields have no maximum length and trim the password.
        self.fields["username"] = CappedField(max_length=MAX_LENGTH, help_text="The username or the email.")
        self.fields["password"] = SecretField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        request = self.context["request"]
        device = device_of(request)
        user = User.objects.authenticate(login=attrs["username"], password=attrs["password"], device=device)
        session = Session.objects.open(user, user_agent=device.user_agent, address=client_address(request))
        return tokens.token_pair(session)


class RefreshSerializer(StrictSerializer, TokenRefreshSerializer):
    """Exchanges a refresh token for the next pair. Raises InvalidToken."""

    refresh = CappedField(max_length=MAX_TOKEN_LENGTH)
    access: Any = None  # drops simplejwt's read-only field

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        return tokens.refresh(attrs["refresh"])


class TokenSerializer(StrictSerializer, TokenVerifySerializer):
    """Verifies an access or refresh token. Raises InvalidToken."""

    token = CappedField(max_length=MAX_TOKEN_LENGTH)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        tokens.verify(attrs["token"])
        return {}


class SignOutSerializer(StrictSerializer, TokenBlacklistSerializer):
    """Ends the session of a refresh token. Raises InvalidToken."""

    refresh = CappedField(max_length=MAX_TOKEN_LENGTH)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        tokens.end_session(attrs["refresh"])
        return {}


def device_of(request: Request) -> Device:
    user_agent = clean_user_agent(request.headers.get("User-Agent", ""))
    return Device(network=network_prefix(client_address(request), IPV6_PREFIX_BITS), user_agent=user_agent)
