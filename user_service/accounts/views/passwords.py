"""Password resets and invitations, by a mailed token."""

from drf_yasg.utils import swagger_auto_schema
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.examples import MAIL_TOKEN, NEW_PASSWORD
from accounts.models import AccountGone, Mail, PasswordToken, PasswordTokenInvalid, User
from accounts.openapi import ACCOUNTS, MAILED, SIGNING_IN
from accounts.serializers import ConfirmSerializer, EmailSerializer
from accounts.views.conflicts import as_http_errors
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAdmin, IsAuthenticated
from chassis.auth.signup import signup_budget


class RequestReset(Endpoint):
    """Responds the same, after the same work, whether the address is known or not: the worker looks it up."""

    tag = SIGNING_IN
    authentication_classes = []
    permission_classes = [AllowAny]
    serializer_class = EmailSerializer

    @swagger_auto_schema(
        operation_id="requestPasswordReset",
        operation_summary="Request an email to reset a forgotten password",
        operation_description="The response does not reveal whether an account has this address.",
        responses={202: "If there is an account with this address, an email will be sent."},
        example={"email": "alice@example.com"},
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        with signup_budget(request):
            Mail.objects.plan(Mail.Kind.PASSWORD_RESET, serializer.validated_data["email"])
        return Response(status=status.HTTP_202_ACCEPTED)


class ConfirmReset(Endpoint):
    tag = SIGNING_IN
    authentication_classes = []
    permission_classes = [AllowAny]
    serializer_class = ConfirmSerializer

    @swagger_auto_schema(
        operation_id="confirmPasswordReset",
        operation_summary="Set a password by the token from an email",
        operation_description="Ends every session of the account.",
        responses={204: "The password is set."},
        example={"token": MAIL_TOKEN, "new_password": NEW_PASSWORD},
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        try:
            serializer.is_valid(raise_exception=True)  # a weak password does not use up the token
            PasswordToken.objects.redeem(
                serializer.validated_data["token"],
                user=serializer.validated_data["user"],
                password=serializer.validated_data["new_password"],
            )
        except (PasswordTokenInvalid, AccountGone) as error:
            detail = ErrorDetail("Is unknown, used or expired; ask for another.", code="token_invalid")
            raise ValidationError({"token": [detail]}) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class SendInvitation(Endpoint):
    tag = ACCOUNTS
    permission_classes = [IsAuthenticated & IsAdmin]

    @swagger_auto_schema(
        operation_id="sendInvitation",
        operation_summary="Send another invitation",
        operation_description="Invites an owner who has not chosen a password yet. Earlier invitations stay valid, for "
        "7 days each.",
        responses=MAILED | {409: "The account already has a password, or is not active."},
    )
    def post(self, request: Request, user_id: int) -> Response:
        with as_http_errors():
            get_object_or_404(User, pk=user_id).invite_again()
        return Response(status=status.HTTP_202_ACCEPTED)


class SendReset(Endpoint):
    tag = ACCOUNTS
    permission_classes = [IsAuthenticated & IsAdmin]

    @swagger_auto_schema(
        operation_id="mailPasswordReset",
        operation_summary="Send an email to reset the password of an account",
        responses={202: "The email will be sent."},
    )
    def post(self, request: Request, user_id: int) -> Response:
        user = get_object_or_404(User, pk=user_id)
        Mail.objects.plan(Mail.Kind.PASSWORD_RESET, user.email, by_admin=True)
        return Response(status=status.HTTP_202_ACCEPTED)
